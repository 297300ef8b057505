//! A small blocking HTTP client that says exactly one thing well: whether a request may have been heard.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Sent {
    /// A whole answer came.
    Answer {
        /// Its status.
        status: u16,
        /// Its body.
        body: Vec<u8>,
    },
    /// No byte of it was sent.
    Unsent,
    /// It was sent, at least in part, and no whole answer came.
    Lost,
}

/// A client of one node, with one connection that is kept while it works.
#[derive(Debug)]
pub(crate) struct Http {
    to: SocketAddr,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    /// Of a node; each step of a request may take this long.
    pub(crate) fn new(to: SocketAddr, patience: Duration) -> Self {
        Self { to, patience, stream: None }
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Sent {
        if self.stream.is_none() {
            let Ok(stream) = self.connect() else { return Sent::Unsent };
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().expect("it is there now");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            self.to,
            body.len()
        );
        let exchanged = exchange(stream, request.as_bytes());
        if let Ok((status, body)) = exchanged {
            return Sent::Answer { status, body };
        }
        // Whatever comes on it later would be taken for the answer to something else.
        self.stream = None;
        Sent::Lost
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.to, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> Result<(u16, Vec<u8>)> {
    stream.get_mut().write_all(request)?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).context("a status")?.parse()?;
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("a length")?];
    stream.read_exact(&mut body)?;
    Ok((status, body))
}
