//! Metrics for Prometheus: what the owner of the data plane tells of it
//! ([`Report`]), as text ([`encode()`]), over HTTP ([`endpoint()`]).

#[cfg(test)]
mod dist;
mod encode;
mod family;
mod http;
mod listen;
mod report;

pub use self::encode::encode;
pub use self::family::{Family, Kind, families};
pub use self::http::Source;
pub use self::listen::{Endpoint, Server, endpoint};
pub use self::report::{Connections, Report, Rule, Set};
