//! `flows`.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    args,
    error::CliError,
    output::{Output, or_dash},
};
use crate::control::{Client, Command, Flows};

pub(super) fn flows(socket: &Path, args: &args::Flows, out: &mut Output) -> Result<(), CliError> {
    let flows: Flows = Client::connect(socket)?.ask(Command::Flows { top: Some(args.top) })?;
    if out.json {
        return Ok(out.json(&flows)?);
    }
    Ok(show(&flows, out)?)
}

fn show<W: Write>(flows: &Flows, out: &mut Output<W>) -> io::Result<()> {
    let Flows { from, total, flows } = flows;
    let shown = flows.len();
    if from == "flow_log" {
        out.line(format_args!(
            "{shown} of {total} inbound flows of this minute and the one before, the most bytes first"
        ))?;
    } else {
        out.line(format_args!(
            "{shown} of {total} connections and answered flows that the kernel knows, the last used first; with `[log] flows` they are counted"
        ))?;
    }
    let end = |address: std::net::IpAddr, port: Option<u16>| match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    let number = |number: Option<u64>| or_dash(number.map(|number| number.to_string()).as_deref());
    let rows: Vec<_> = flows
        .iter()
        .map(|flow| {
            [
                or_dash(flow.interface.as_deref()),
                or_dash(flow.verdict.as_deref()),
                flow.protocol.clone(),
                end(flow.source, flow.source_port),
                end(flow.destination, flow.destination_port),
                or_dash(flow.last.as_deref()),
                number(flow.packets),
                number(flow.bytes),
            ]
        })
        .collect();
    let header =
        ["INTERFACE", "VERDICT", "PROTOCOL", "SOURCE", "DESTINATION", "LAST", "PACKETS", "BYTES"];
    out.table(header, 2, &rows)
}
