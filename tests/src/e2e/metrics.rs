//! Reading metrics as Prometheus does.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use sandbox::{Namespace, Outcome, tcp_connect};

use super::soon;

/// Where they are unless the policy says otherwise.
pub const METRICS: &str = "127.0.0.1:9551";

/// An HTTP answer.
#[derive(Debug)]
pub struct Http {
    /// Such as 200.
    pub status: u16,
    /// The header, as it came.
    pub head: String,
    /// What follows it.
    pub body: String,
}

/// What one scrape told.
#[derive(Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The value of the sample with exactly this name and these labels, as it
    /// is written; `None` if there is none.
    ///
    /// # Panics
    /// If its value is no number.
    #[must_use]
    pub fn get(&self, sample: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        Some(line.parse().unwrap_or_else(|_| panic!("{sample} is {line}")))
    }

    /// [`get`](Self::get) of a sample that must be there.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    #[must_use]
    pub fn value(&self, sample: &str) -> f64 {
        self.get(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.0))
    }
}

/// Sends bytes to a server in a namespace, and reads until it closes; `None`
/// where nobody listens.
///
/// # Panics
/// If nobody answers at all.
#[track_caller]
#[must_use]
pub fn ask(namespace: &Namespace, to: &str, request: &str) -> Option<String> {
    let to: SocketAddr = to.parse().expect("an address");
    let mut stream = match tcp_connect(namespace, None, to, soon()).expect("an attempt") {
        Outcome::Connected(stream) => stream,
        outcome if outcome.is_refused() => return None,
        outcome => panic!("{to}: {outcome:?}"),
    };
    stream.set_read_timeout(Some(soon() * 2)).expect("a time limit");
    // A server that has heard enough may reset before all is written or read.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Asks for a path.
///
/// # Panics
/// If what comes is no HTTP.
#[track_caller]
#[must_use]
pub fn http(namespace: &Namespace, to: &str, method: &str, path: &str) -> Option<Http> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nAccept: */*\r\n\r\n");
    let answer = ask(namespace, to, &request)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("`{answer}`"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in `{head}`"));
    Some(Http { status, head: head.to_owned(), body: body.to_owned() })
}

/// Scrapes; `None` where nobody listens.
///
/// # Panics
/// If the answer is another than 200.
#[track_caller]
#[must_use]
pub fn scrape(namespace: &Namespace, to: &str) -> Option<Metrics> {
    let answer = http(namespace, to, "GET", "/metrics")?;
    assert_eq!(answer.status, 200, "{}\n{}", answer.head, answer.body);
    Some(Metrics(answer.body))
}
