//! hyper alone in front of the same application: its server on one side, its client on the other, a kept connection in
//! between, and not a field looked at. Whatever is built of hyper costs at least this.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

type Kept = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// Serves HTTP/1.1 until it is killed, a thread a core. The role is where to listen, and the application.
pub(crate) fn serve(role: &str) {
    // As Portcullis does, with the same allocator.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let [listen, application] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let (listen, application) = (listen.parse().unwrap(), application.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<_> =
        (0..threads).map(|_| std::thread::spawn(move || serve_core(listen, application))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn serve_core(listen: SocketAddr, application: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let kept = Kept::default();
        let listener = listen_beside(listen);
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let kept = kept.clone();
            let service = service_fn(move |request| pass(application, kept.clone(), request));
            tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
}

fn listen_beside(listen: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(listen).unwrap();
    socket.listen(4096).unwrap()
}

async fn pass(
    application: SocketAddr,
    kept: Kept,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, Infallible> {
    let found = kept.borrow_mut().pop();
    let mut sender = match found {
        Some(sender) if !sender.is_closed() => sender,
        _ => connect(application).await,
    };
    sender.ready().await.unwrap();
    let answer = sender.send_request(request).await.unwrap();
    kept.borrow_mut().push(sender);
    Ok(answer)
}

async fn connect(application: SocketAddr) -> SendRequest<Incoming> {
    let socket = TcpStream::connect(application).await.unwrap();
    let _ = socket.set_nodelay(true);
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}
