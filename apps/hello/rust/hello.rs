// A proc in Rust with nothing but the standard library: says Started, greets,
// says Exited. docs/PROC-ABI.md has the frames.
//
//	rustc -O -C target-feature=+crt-static -C panic=abort -o hello hello.rs

use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;

const STARTED: u8 = 1;
const EXITED: u8 = 2;

/// Writes one request that wants no answer (id 0).
fn frame(control: &mut File, kind: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut b = Vec::with_capacity(12 + payload.len());
    b.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    b.extend_from_slice(&[1, kind, 0, 0, 0, 0, 0, 0]);
    b.extend_from_slice(payload);
    control.write_all(&b)
}

/// Encodes one field of a payload.
fn field(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut b = (tag as u32 | (value.len() as u32) << 8).to_le_bytes().to_vec();
    b.extend_from_slice(value);
    b
}

fn main() -> std::io::Result<()> {
    // Descriptor 3 is ours: sigmad put it there and nobody else uses it.
    let mut control = unsafe { File::from_raw_fd(3) };
    frame(&mut control, STARTED, &[])?;
    println!("hello from Rust, pid {}", std::process::id());
    frame(&mut control, EXITED, &field(2, b"goodbye"))
}
