// A proc in Rust that listens, with nothing but the standard library: it makes
// an endpoint, prints it, accepts one connection and sends back what comes.
// docs/PROC-ABI.md has the frames.
//
//	rustc -O -C target-feature=+crt-static -C panic=abort -o echo echo.rs

use std::ffi::c_void;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;

const CONTROL: i32 = 3;
const STARTED: u8 = 1;
const EXITED: u8 = 2;
const NEW_ENDPOINT: u8 = 16;
const ACCEPT: u8 = 17;
const ERROR: u16 = 2;

#[repr(C)]
struct IoVec {
    base: *mut c_void,
    len: usize,
}

#[repr(C)]
struct MsgHdr {
    name: *mut c_void,
    namelen: u32,
    iov: *mut IoVec,
    iovlen: usize,
    control: *mut c_void,
    controllen: usize,
    flags: i32,
}

/// One control message with one descriptor: what Linux calls CMSG_SPACE(4).
#[repr(C)]
#[derive(Default)]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    fd: i32,
    pad: i32,
}

extern "C" {
    // The C library that std is linked with; std itself cannot receive descriptors.
    fn recvmsg(fd: i32, msg: *mut MsgHdr, flags: i32) -> isize;
}

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;

/// The control channel. Descriptors come with the first byte of their frame, so
/// every read of it is a recvmsg.
struct Channel {
    out: UnixStream,
    fd: Option<i32>,
}

struct Answer {
    payload: Vec<u8>,
    fd: Option<i32>,
}

impl Channel {
    fn take(&mut self, mut b: &mut [u8]) -> io::Result<()> {
        while !b.is_empty() {
            let mut rights = Rights::default();
            let mut iov = IoVec { base: b.as_mut_ptr().cast(), len: b.len() };
            let mut m = MsgHdr {
                name: std::ptr::null_mut(),
                namelen: 0,
                iov: &mut iov,
                iovlen: 1,
                control: (&mut rights as *mut Rights).cast(),
                controllen: std::mem::size_of::<Rights>(),
                flags: 0,
            };
            // Everything that m points to lives until recvmsg returns.
            let n = unsafe { recvmsg(CONTROL, &mut m, MSG_CMSG_CLOEXEC) };
            if n < 0 {
                return Err(io::Error::last_os_error());
            }
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if m.controllen > 0 && rights.level == SOL_SOCKET && rights.kind == SCM_RIGHTS {
                self.fd = Some(rights.fd);
            }
            b = &mut b[n as usize..];
        }
        Ok(())
    }

    fn send(&mut self, kind: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        let mut b = (payload.len() as u32).to_le_bytes().to_vec();
        b.extend_from_slice(&[1, kind, 0, 0]);
        b.extend_from_slice(&id.to_le_bytes());
        b.extend_from_slice(payload);
        self.out.write_all(&b)
    }

    /// Waits for the one answer to a request; nothing else is under way.
    fn ask(&mut self, kind: u8, payload: &[u8]) -> io::Result<Answer> {
        self.send(kind, 1, payload)?;
        let mut head = [0u8; 12];
        self.take(&mut head)?;
        let len = number(&head) as usize;
        let flags = head[6] as u16 | (head[7] as u16) << 8;
        if head[4] != 1 || len > 1 << 18 {
            return Err(io::Error::other("a frame of another version"));
        }
        let mut payload = vec![0; len];
        self.take(&mut payload)?;
        if flags & ERROR != 0 {
            return Err(io::Error::other(text(&payload, 4)));
        }
        Ok(Answer { payload, fd: self.fd.take() })
    }
}

fn number(b: &[u8]) -> u32 {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

/// Finds one field of a payload.
fn text(mut p: &[u8], tag: u8) -> String {
    while p.len() >= 4 {
        let head = number(p);
        let n = ((head >> 8) as usize).min(p.len() - 4);
        if head as u8 == tag {
            return String::from_utf8_lossy(&p[4..4 + n]).into_owned();
        }
        p = &p[4 + n..];
    }
    String::new()
}

fn main() -> io::Result<()> {
    // Descriptor 3 is ours: sigmad put it there and nobody else uses it.
    let mut sigma = Channel { out: unsafe { UnixStream::from_raw_fd(CONTROL) }, fd: None };
    let endpoint = sigma.ask(NEW_ENDPOINT, &[])?;
    println!("{}", text(&endpoint.payload, 1));
    sigma.send(STARTED, 0, &[])?;

    // Accept takes what NewEndpoint gave: field 1, the token.
    let conn = sigma.ask(ACCEPT, &endpoint.payload)?;
    eprintln!("connection from {}", text(&conn.payload, 2));
    let fd = conn.fd.ok_or_else(|| io::Error::other("the connection's descriptor did not arrive"))?;
    // It may be a Unix or a TCP socket; for reading and writing that is the same.
    let mut peer = unsafe { UnixStream::from_raw_fd(fd) };
    peer.set_nonblocking(false)?;
    let mut buf = [0u8; 65536];
    loop {
        match peer.read(&mut buf)? {
            0 => break,
            n => peer.write_all(&buf[..n])?,
        }
    }
    drop(peer);
    sigma.send(EXITED, 0, &[])
}
