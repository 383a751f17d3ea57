//! The doubles before the vendors' own client libraries.

use crate::{
    doubles::{Doubles, KEY, KEY_ID, SECRET},
    python,
};

#[tokio::test]
async fn vendors_own_clients_take_the_doubles_for_the_services() {
    let doubles = Doubles::start().await;
    let url = doubles.url.clone();
    let said = tokio::task::spawn_blocking(move || {
        python::run("vendors.py", &[&url, KEY, KEY_ID, SECRET])
    });
    if let Some(said) = said.await.unwrap() {
        println!("{said}");
    }
}
