//! Where metrics are served, which a policy may change at any time.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use tokio::{
    net,
    sync::{mpsc, oneshot},
};
use tracing::{info, warn};

use super::http::{self, Source};
use crate::control::MetricsEntry;

/// What the server is told.
enum Order {
    /// Serve here.
    Open(TcpListener),
    /// Let go of the address, and say when.
    Close(oneshot::Sender<()>),
}

/// The end that says where to listen.
#[derive(Debug)]
pub struct Endpoint {
    orders: mpsc::UnboundedSender<Order>,
    wanted: Option<SocketAddr>,
    open: bool,
    problem: Option<String>,
}

/// The end that serves.
#[derive(Debug)]
pub struct Server(mpsc::UnboundedReceiver<Order>);

/// Both ends. Nothing is served before the first [`Endpoint::listen`].
#[must_use]
pub fn endpoint() -> (Endpoint, Server) {
    let (orders, received) = mpsc::unbounded_channel();
    (Endpoint { orders, wanted: None, open: false, problem: None }, Server(received))
}

impl Endpoint {
    /// Listens there from now on, `None`: nowhere; tries again where it could
    /// not before. Blocks for a moment, so it is not for a runtime's thread.
    pub fn listen(&mut self, address: Option<SocketAddr>) {
        if self.wanted == address && self.problem.is_none() {
            return;
        }
        if self.open {
            let (closed, is_closed) = oneshot::channel();
            // A server that has ended holds no address.
            if self.orders.send(Order::Close(closed)).is_ok() {
                let _ = is_closed.blocking_recv();
            }
            self.open = false;
        }
        if self.wanted != address {
            self.problem = None;
        }
        self.wanted = address;
        let Some(address) = address else { return };
        match bind(address) {
            Ok(listener) => {
                info!("metrics are served on http://{address}{}", http::PATH);
                self.open = self.orders.send(Order::Open(listener)).is_ok();
                self.problem = None;
            }
            Err(error) => {
                let problem = sentence(address, &error);
                if self.problem.as_ref() != Some(&problem) {
                    warn!("{problem}");
                }
                self.problem = Some(problem);
            }
        }
    }

    /// Why metrics are not served where they should be.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// As `status` shows it.
    #[must_use]
    pub fn entry(&self) -> MetricsEntry {
        MetricsEntry {
            listen: self.wanted.map(|address| address.to_string()),
            problem: self.problem.clone(),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn sentence(address: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there: stop it (`ss -ltnp 'sport = :{}'` names it), or write another port",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this host does not have the address {}: set the interface up that has it, or write another",
            address.ip()
        ),
        _ => format!("{error}: write another address"),
    };
    format!(
        "no metrics are served on {address}, for {why} in `[metrics] listen`; nodewall filters on, and tries again every few seconds"
    )
}

impl Server {
    /// Serves what `source` tells, for as long as the other end lives.
    pub async fn run<S: Source>(mut self, source: S) {
        let service = http::Service::new(source);
        let mut listener = None;
        loop {
            tokio::select! {
                order = self.0.recv() => match order {
                    Some(Order::Open(open)) => {
                        listener = net::TcpListener::from_std(open)
                            .inspect_err(|error| warn!("metrics are not served: {error}"))
                            .ok();
                    }
                    Some(Order::Close(closed)) => {
                        listener = None;
                        // Who waits may have gone.
                        let _ = closed.send(());
                    }
                    None => return,
                },
                () = service.accept(listener.as_ref()) => {}
            }
        }
    }
}
