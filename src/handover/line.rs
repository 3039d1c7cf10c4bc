//! The line between two processes of one hand-over: whole messages over a Unix socket, with the descriptors that belong
//! to them.
//!
//! A message is its length and the number of its descriptors, four bytes each, the most significant first; its text,
//! which is JSON; and a byte for each batch of descriptors, which the kernel carries (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The most bytes of a message: those who were heard of in a quarter of a minute, and much more than any change.
const LARGEST: u32 = 16 * 1024 * 1024;
/// The descriptors that go with one byte; the kernel takes 253 at most.
const BATCH: usize = 64;
/// The most descriptors of a message: the sockets of 1,000 cores.
const MOST: u32 = 4096;

/// One end of a line.
#[derive(Debug)]
pub(super) struct HandoverLine(UnixStream);

impl HandoverLine {
    /// Takes an end that was made, or inherited.
    ///
    /// # Errors
    /// It is no Unix socket.
    pub(super) fn from_fd(end: OwnedFd) -> io::Result<Self> {
        let socket = StdUnixStream::from(end);
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket).map(Self)
    }

    /// This end once more, for another process.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// Says a message, with descriptors.
    ///
    /// # Errors
    /// The other end is gone.
    pub(super) async fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.0.write_all(&write_frame(message, descriptors.len())?).await?;
        for batch in descriptors.chunks(BATCH) {
            self.0.async_io(Interest::WRITABLE, || send_batch(&self.0, batch)).await?;
        }
        Ok(())
    }

    /// Hears the next message; `None` once the other end is closed.
    ///
    /// # Errors
    /// It broke off, or is none that this version knows.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some((text, count)) = read_frame(&mut self.0).await? else { return Ok(None) };
        let mut descriptors = Vec::new();
        while descriptors.len() < count {
            let received = self.0.async_io(Interest::READABLE, || receive_batch(&self.0)).await?;
            if received.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "descriptors are missing"));
            }
            descriptors.extend(received);
        }
        Ok(Some((serde_json::from_slice(&text)?, descriptors)))
    }

    /// Both directions, for messages without descriptors.
    pub(super) fn split(self) -> (Ear, Mouth) {
        let (read, write) = self.0.into_split();
        (Ear(read), Mouth(Some(write)))
    }
}

/// The half of a line that hears.
#[derive(Debug)]
pub(super) struct Ear(OwnedReadHalf);

impl Ear {
    /// Hears the next message; `None` once the other end is closed.
    ///
    /// # Errors
    /// It broke off, or is none that this version knows.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        match read_frame(&mut self.0).await? {
            Some((text, 0)) => Ok(Some(serde_json::from_slice(&text)?)),
            Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "no descriptors are expected")),
            None => Ok(None),
        }
    }
}

/// The half of a line that speaks. Dropped, it closes nothing: another process may speak on the same line.
#[derive(Debug)]
pub(super) struct Mouth(Option<OwnedWriteHalf>);

impl Drop for Mouth {
    fn drop(&mut self) {
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

impl Mouth {
    /// Says a message.
    ///
    /// # Errors
    /// The other end is gone.
    pub(super) async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        match &mut self.0 {
            Some(half) => half.write_all(&write_frame(message, 0)?).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Says a message and waits until the kernel has it: for a process that ends before there is a runtime.
///
/// # Errors
/// The other end is gone.
pub(super) fn send_blocking(line: &StdUnixStream, message: &impl Serialize) -> io::Result<()> {
    use std::io::Write as _;
    let mut line = line;
    line.write_all(&write_frame(message, 0)?)
}

fn write_frame(message: &impl Serialize, descriptors: usize) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidData, "a message is too large");
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= LARGEST).ok_or_else(too_large)?;
    let count = u32::try_from(descriptors).ok().filter(|count| *count <= MOST).ok_or_else(too_large)?;
    Ok([&length.to_be_bytes()[..], &count.to_be_bytes(), &text].concat())
}

/// The text of the next message, and the number of descriptors behind it. Not a byte more is read: it would lose them.
async fn read_frame(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut head = [0; 8];
    match from.read_exact(&mut head[..1]).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    from.read_exact(&mut head[1..]).await?;
    let [a, b, c, d, e, f, g, h] = head;
    let (length, count) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    if length > LARGEST || count > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too large"));
    }
    let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
    from.read_exact(&mut text).await?;
    Ok(Some((text, usize::try_from(count).unwrap_or_default())))
}

fn send_batch(line: &UnixStream, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(batch)) {
        return Err(io::Error::other("there is no room for descriptors"));
    }
    sendmsg(line, &[IoSlice::new(b"+")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_batch(line: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(line, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    Ok(rights.flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn pair() -> (HandoverLine, HandoverLine) {
        let (one, other) = StdUnixStream::pair().unwrap();
        (HandoverLine::from_fd(one.into()).unwrap(), HandoverLine::from_fd(other.into()).unwrap())
    }

    #[tokio::test]
    async fn messages_come_whole_and_in_order_with_the_descriptors_that_are_theirs() {
        let (mut here, mut there) = pair();
        let sockets: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<String> =
            sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
        let saying = async {
            here.send(&"first", &[]).await.unwrap();
            let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
            here.send(&addresses, &descriptors).await.unwrap();
            here.send(&"x".repeat(1_000_000), &[]).await.unwrap();
            drop(here);
        };
        let hearing = async {
            assert_eq!(there.receive::<String>().await.unwrap().unwrap().0, "first");
            let (told, received) = there.receive::<Vec<String>>().await.unwrap().unwrap();
            let received: Vec<String> = received
                .into_iter()
                .map(|fd| {
                    let flags = rustix::io::fcntl_getfd(&fd).unwrap();
                    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "{}", fd.as_raw_fd());
                    TcpListener::from(fd).local_addr().unwrap().to_string()
                })
                .collect();
            assert_eq!(received, told);
            assert_eq!(there.receive::<String>().await.unwrap().unwrap().0.len(), 1_000_000);
            assert!(there.receive::<String>().await.unwrap().is_none());
        };
        tokio::join!(saying, hearing);
    }

    #[tokio::test]
    async fn what_breaks_off_or_is_too_large_is_no_message() {
        let too_large = [&(LARGEST + 1).to_be_bytes()[..], &[0; 4]].concat();
        let too_many = [&[0; 4][..], &(MOST + 1).to_be_bytes()].concat();
        let without = [&2_u32.to_be_bytes()[..], &1_u32.to_be_bytes(), b"{}"].concat();
        for said in [&b"\0"[..], &[0, 0, 0, 9, 0, 0, 0, 0, b'"'], &too_large, &too_many, &without] {
            let (here, mut there) = pair();
            let mut here = here.0;
            here.write_all(said).await.unwrap();
            drop(here);
            assert!(there.receive::<serde_json::Value>().await.is_err(), "{said:?}");
        }
    }
}
