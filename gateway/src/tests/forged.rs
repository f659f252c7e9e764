//! Headers in which only the gateway speaks.

use super::{Front, on_one_thread};

#[test]
fn a_client_cannot_speak_in_the_gateways_name_in_any_spelling() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client
            .send(
                "GET / HTTP/1.1\r\nHost: h\r\nX-Consumer-Groups: root\r\nX_Consumer_Custom_ID: admin\r\n\
                 X-CONSUMER_USERNAME: root\r\nX.Consumer.ID: 1\r\nX-Credential-Identifier: 1\r\nX_API_KEY: k\r\n\
                 X-Authenticated-Userid: 1\r\nX_Anonymous-Consumer: true\r\nX_Forwarded_For: 10.0.0.1\r\n\
                 Content_Length: 7\r\nX-Consumers: 3\r\nX_Request_Id: 7\r\n\r\n",
            )
            .await;
        let answer = client.message().await.json();
        let headers = answer["headers"].as_object().expect("headers");
        let mut names: Vec<&str> = headers.keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected = [
            "host",
            "x-consumers",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x_request_id",
        ];
        assert_eq!(names, expected);
    });
}
