//! Steps of an application's own.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tidings_core::Field;
use tidings_store::Error;

use super::{filled, leak, migrations, optional, row, rows, stored_place, tenants};

#[tokio::test]
async fn steps_of_ones_own_run_once_in_their_places_and_all_or_nothing() {
    let place = stored_place().await;
    let first = leak(tenants().field(optional("host")));
    filled(&place, first, &[row([1.into(), "a.example".into()])]).await;

    let second = leak(
        tenants()
            .field(optional("name"))
            .field(Field::of::<i64>("length").default(0)),
    );
    let runs = Arc::new(AtomicUsize::new(0));
    let stepped = |fails: bool| {
        let runs = Arc::clone(&runs);
        migrations(&place, second)
            .step_before("rename", move |sql| {
                runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    sql.run("ALTER TABLE tenants RENAME COLUMN host TO name")
                        .await?;
                    Ok(())
                }
            })
            .step_after("fill", move |sql| async move {
                let filled = sql.run("UPDATE tenants SET length = length(name)").await?;
                assert_eq!(filled, 1);
                if fails { Err("no".into()) } else { Ok(()) }
            })
    };

    let plan = stepped(true).plan().await.unwrap();
    assert_eq!(
        (plan.before, plan.after),
        (vec!["rename".to_owned()], vec!["fill".to_owned()])
    );
    match stepped(true).apply().await.unwrap_err() {
        Error::Step { name, source } => {
            assert_eq!((name.as_str(), source.to_string().as_str()), ("fill", "no"))
        }
        error => panic!("{error:?}"),
    }
    assert_eq!(
        rows(&place, first).await.len(),
        1,
        "the column is host still"
    );

    stepped(false).apply().await.unwrap();
    let expected = row([1.into(), "a.example".into(), 9.into()]);
    assert_eq!(rows(&place, second).await, std::slice::from_ref(&expected));
    assert!(stepped(false).apply().await.unwrap().plan.is_empty());
    assert_eq!(
        runs.load(Ordering::SeqCst),
        2,
        "once when it was undone, once for good"
    );
    assert_eq!(rows(&place, second).await, [expected]);
}

#[tokio::test]
async fn steps_that_misbehave_undo_everything() {
    let place = stored_place().await;
    let schema = leak(tenants());
    filled(&place, schema, &[row([1.into()])]).await;

    let panics = migrations(&place, schema).step_before("panic", |sql| async move {
        sql.run("DELETE FROM tenants").await?;
        panic!("in a step")
    });
    let error = panics.apply().await.unwrap_err();
    assert!(
        matches!(&error, Error::Panicked { message, .. } if message == "in a step"),
        "{error:?}"
    );

    let wrong = migrations(&place, schema).step_before("wrong", |sql| async move {
        sql.run("DELETE FROM tenants").await?;
        sql.run("DELETE FROM nowhere").await?;
        Ok(())
    });
    match wrong.apply().await.unwrap_err() {
        Error::Step { name, source } => {
            let said = source.to_string();
            assert!(
                name == "wrong" && said.contains("DELETE FROM nowhere"),
                "{said}"
            );
        }
        error => panic!("{error:?}"),
    }

    let ends = migrations(&place, schema).step_before("ends", |sql| async move {
        sql.run("COMMIT").await?;
        Ok(())
    });
    let error = ends.apply().await.unwrap_err();
    assert!(
        matches!(&error, Error::Step { name, .. } if name == "ends"),
        "{error:?}"
    );

    let kept = Arc::new(Mutex::new(None));
    let into = Arc::clone(&kept);
    let keeps = migrations(&place, schema).step_before("keeps", move |sql| {
        *into.lock().unwrap() = Some(sql);
        std::future::ready(Ok(()))
    });
    keeps.apply().await.unwrap();
    let late = kept.lock().unwrap().take().unwrap();
    let error = late.run("DELETE FROM tenants").await.unwrap_err();
    assert!(matches!(error, Error::TransactionEnded { .. }), "{error:?}");

    for name in ["", "  ", &"x".repeat(201)] {
        let named = migrations(&place, schema).step_after(name, |_| std::future::ready(Ok(())));
        let error = named.apply().await.unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{name}: {error:?}");
    }
    let twice = migrations(&place, schema)
        .step_after("same", |_| std::future::ready(Ok(())))
        .step_before("same", |_| std::future::ready(Ok(())));
    let error = twice.apply().await.unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error:?}");
    assert_eq!(rows(&place, schema).await.len(), 1);
}
