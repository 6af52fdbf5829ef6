//! HTTP for one reader who comes every few seconds, and for those who mean no
//! good: whatever they do costs the daemon a bounded share of its time.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::TEXT_FORMAT;
use tokio::{
    net::{TcpListener, TcpStream},
    sync,
    task::{AbortHandle, spawn_blocking},
    time::{sleep, timeout},
};
use tracing::{debug, trace, warn};

use super::{Report, encode};

/// Where the metrics are.
pub(super) const PATH: &str = "/metrics";
/// Connections at a time. The oldest gives way to the next: one that came and
/// went silent must not keep Prometheus out.
const CONNECTIONS: usize = 32;
/// For a request to come in.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// For all of a connection: as long as Prometheus waits for a scrape.
const WITHIN: Duration = Duration::from_secs(10);
/// The longest request, in bytes.
const LONGEST: usize = 8192;
/// After a scrape that took a while, so many such whiles pass until the next
/// one begins: those who ask without end get a fifth of the owner's time.
const REST: u32 = 4;
/// But no longer than this: the scrape may have waited for something else.
const LONGEST_REST: Duration = Duration::from_secs(2);

type Answer = Response<Full<Bytes>>;

/// Whoever is asked at a scrape.
pub trait Source: Clone + Send + Sync + 'static {
    /// What there is to tell, or why there is nothing.
    fn report(&self) -> impl Future<Output = Result<Report, String>> + Send;
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Service<S> {
    source: S,
    /// Held while a scrape is under way.
    turn: Arc<sync::Mutex<()>>,
    connections: Mutex<VecDeque<AbortHandle>>,
}

impl<S: Source> Service<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, turn: Arc::default(), connections: Mutex::default() }
    }

    /// Takes the next connection; without a listener there never is one.
    pub(super) async fn accept(&self, listener: Option<&TcpListener>) {
        let Some(listener) = listener else { return pending().await };
        match listener.accept().await {
            Ok((stream, _)) => self.serve(stream),
            Err(error) => {
                warn!("a connection to the metrics could not be accepted: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn serve(&self, stream: TcpStream) {
        let (source, turn) = (self.source.clone(), Arc::clone(&self.turn));
        let task = tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let (source, turn) = (source.clone(), Arc::clone(&turn));
                async move { Ok::<_, Infallible>(answer(&request, source, turn).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_buf_size(LONGEST)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            match timeout(WITHIN, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!("a reader of the metrics: {error}"),
                Err(_) => debug!("a reader of the metrics was too slow"),
            }
        });
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        connections.push_back(task.abort_handle());
    }
}

async fn answer<S: Source>(
    request: &Request<Incoming>,
    source: S,
    turn: Arc<sync::Mutex<()>>,
) -> Answer {
    if request.uri().path() != PATH {
        let text = format!("there is nothing here; the metrics are at {PATH}\n");
        return plain(StatusCode::NOT_FOUND, text);
    }
    if request.method() != Method::GET {
        let text = "the metrics can be read with GET alone\n".to_owned();
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, text);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    let turn = turn.lock_owned().await;
    // A task of its own, which ends also where the reader does not wait for it:
    // or those who come and go would fill the owner's queue.
    let (told, answer) = sync::oneshot::channel();
    tokio::spawn(async move {
        let began = Instant::now();
        let scraped = scrape(source).await;
        let took = began.elapsed();
        trace!(microseconds = took.as_micros(), "scraped");
        let _ = told.send(scraped);
        sleep((took * REST).min(LONGEST_REST)).await;
        drop(turn);
    });
    let scraped = answer.await.unwrap_or_else(|_| Err("the daemon is stopping".to_owned()));
    match scraped {
        Ok(text) => {
            let mut answer = Response::new(Full::from(text));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
            answer
        }
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn scrape<S: Source>(source: S) -> Result<Vec<u8>, String> {
    let began = Instant::now();
    let report = source.report().await?;
    trace!(microseconds = began.elapsed().as_micros(), "the owner has told what there is");
    // Long for thousands of rules; the control socket shares the runtime's thread.
    spawn_blocking(move || encode(&report).map_err(|error| error.to_string()))
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
}

fn plain(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
