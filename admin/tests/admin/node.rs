//! A node and its admin API, driven without a socket.

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value as Json;
use tidings::{Node, Store};
use tidings_admin::AdminOptions;
use tower::ServiceExt as _;

use super::database::url;
use crate::entities::{Crate, Role, Secret, Shelf, Shop, ShopKey};

/// The name of every node here.
pub(crate) const NODE_ID: &str = "node-1";

/// A node with an admin API.
pub(crate) struct Admin {
    pub(crate) node: Node,
    router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Admin {
    pub(crate) async fn new() -> Self {
        Self::with(AdminOptions::new()).await
    }

    pub(crate) async fn with(options: AdminOptions) -> Self {
        let node = Node::builder()
            .store(Store::open(&url().await).await.unwrap())
            .node_id(NODE_ID)
            .workers(2)
            .entity::<Shop>()
            .entity::<ShopKey>()
            .entity::<Role>()
            .entity::<Shelf>()
            .entity::<Crate>()
            .entity::<Secret>()
            .start()
            .await
            .unwrap();
        Self::over(node, options)
    }

    /// Over a node of other entities.
    pub(crate) fn over(node: Node, options: AdminOptions) -> Self {
        tidings_testkit::ask_at_each_log_line();
        let router = tidings_admin::router(node.clone(), options);
        Self { node, router }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let head = request.method() == Method::HEAD;
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.headers["x-tidings-node"], NODE_ID);
        assert!(!head || bytes.is_empty());
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.into()).unwrap(),
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str) -> Answer {
        self.send(request(method, path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).await
    }

    /// Sends a JSON body.
    pub(crate) async fn json(&self, method: &str, path: &str, body: Json) -> Answer {
        self.text(method, path, "application/json", body.to_string())
            .await
    }

    /// Sends a form.
    pub(crate) async fn form(&self, method: &str, path: &str, body: &str) -> Answer {
        let content_type = "application/x-www-form-urlencoded";
        self.text(method, path, content_type, body).await
    }

    /// Sends a body of a type.
    pub(crate) async fn text(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let request = request(method, path)
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body.into()));
        self.send(request.unwrap()).await
    }

    /// Every row of the visible entities, to see that nothing was changed.
    pub(crate) async fn everything(&self) -> Vec<Json> {
        let mut rows = Vec::new();
        for collection in ["shops", "shop-keys", "roles", "shelves", "boxes"] {
            let list = self.get(&format!("/{collection}?size=1000")).await.ok();
            rows.push(list["data"].clone());
        }
        rows
    }

    /// A shop of a name; its id.
    pub(crate) async fn shop(&self, name: &str) -> String {
        let shop = self.json("POST", "/shops", serde_json::json!({ "name": name }));
        shop.await.created()["id"].as_str().unwrap().to_owned()
    }
}

impl Answer {
    pub(crate) fn body(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The body of a 200.
    pub(crate) fn ok(&self) -> Json {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.body()
    }

    /// The body of a 201.
    pub(crate) fn created(&self) -> Json {
        assert_eq!(self.status, StatusCode::CREATED, "{self:?}");
        self.body()
    }

    /// A 204.
    pub(crate) fn no_content(&self) {
        assert_eq!(self.status, StatusCode::NO_CONTENT, "{self:?}");
        assert_eq!(self.text, "");
    }

    /// The body of a refusal with this status, code and name.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: u16, name: &str) -> Json {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.body();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["name"], name, "{body}");
        assert!(body["message"].is_string(), "{body}");
        body
    }

    /// A 404.
    #[track_caller]
    pub(crate) fn not_found(&self) {
        self.refused(404, 6, "not found");
    }

    /// The names of the wrong fields of a 400.
    #[track_caller]
    pub(crate) fn wrong_fields(&self) -> Vec<String> {
        let body = self.refused(400, 2, "schema violation");
        let fields = body["fields"].as_object().unwrap();
        assert!(fields.values().all(Json::is_string), "{body}");
        fields.keys().cloned().collect()
    }
}

/// The head of a request as a client on this machine sends it.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost:8001")
}
