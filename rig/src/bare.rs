//! Applications that are bare sockets, so that they can answer as no library would.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Starts an application that does this with each connection; they are numbered from 0.
pub async fn application<F, G>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> G + Send + 'static,
    G: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            let _ = socket.set_nodelay(true);
            tokio::spawn(serve(number, socket));
        }
    });
    address
}

/// Gives an address at which no application listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Starts an application that writes these bytes to whoever connects, after it has read something, and closes.
pub async fn blurt(bytes: &'static [u8]) -> SocketAddr {
    application(move |_, mut socket| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        let _ = socket.write_all(bytes).await;
    })
    .await
}

/// Starts an application that answers one request a connection with these bytes, keeps the connection, and tells of
/// each.
pub async fn once_each(bytes: &'static [u8]) -> (SocketAddr, mpsc::UnboundedReceiver<usize>) {
    let (told, telling) = mpsc::unbounded_channel();
    let serve = move |number, mut socket: TcpStream| {
        let told = told.clone();
        async move {
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            let _ = told.send(number);
            let _ = socket.write_all(bytes).await;
            let _ = socket.read(&mut buffer).await; // the second request is read and dropped with the socket
        }
    };
    (application(serve).await, telling)
}

/// Starts an application that gives these answers in turn on each connection, and tells the method of each request.
pub async fn in_turn(answers: &'static [&'static [u8]]) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (told, telling) = mpsc::unbounded_channel();
    let serve = move |_, mut socket: TcpStream| {
        let told = told.clone();
        async move {
            let mut buffer = [0; 4096];
            for answer in answers {
                let Ok(length @ 1..) = socket.read(&mut buffer).await else { return };
                let said = String::from_utf8_lossy(&buffer[..length]);
                let _ = told.send(said.split(' ').next().unwrap_or_default().to_owned());
                let _ = socket.write_all(answer).await;
            }
        }
    };
    (application(serve).await, telling)
}
