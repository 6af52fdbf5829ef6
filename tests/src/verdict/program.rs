//! The program, run by the kernel on frames of our own.

use aya::{
    TestRunOptions,
    programs::{ProgramError, TestRun as _, Xdp},
};
use aya_obj::programs::XdpAttachType;
use filter_common::Verdict;

/// The kernel runs a program on no shorter frame (an Ethernet header).
pub const SHORTEST_FRAME: usize = 14;

/// `enum xdp_action`, include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// A handle of its own to the loaded program, for any thread.
#[derive(Debug)]
pub struct Program(Xdp);

impl Program {
    /// The same program as `other`, whoever owns that.
    ///
    /// # Errors
    /// If the kernel tells nothing of it.
    pub fn same_as(other: &Xdp) -> Result<Self, ProgramError> {
        Xdp::from_program_info(other.info()?, "nodewall".into(), XdpAttachType::Interface).map(Self)
    }

    /// What becomes of a frame of at least [`SHORTEST_FRAME`] bytes that came in
    /// on the interface with that index; `None`: on the loopback of the calling
    /// thread's network namespace. It is run `repeat` times; the answer is the
    /// last one's.
    ///
    /// # Panics
    /// If the kernel refuses to run it, or it answers neither pass nor drop.
    #[must_use]
    pub fn run(&self, frame: &[u8], interface: Option<u32>, repeat: u32) -> Verdict {
        let context = interface.map(|index| context(frame.len(), index));
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: context.as_ref().map(|context| context.as_slice()),
            repeat,
            ..TestRunOptions::default()
        };
        match self.0.test_run(options).map(|result| result.return_value) {
            Ok(XDP_PASS) => Verdict::Pass,
            Ok(XDP_DROP) => Verdict::Drop,
            Ok(action) => panic!("the program answered {action}, which is neither pass nor drop"),
            Err(error) => {
                panic!("the kernel does not run the program on {} bytes: {error:?}", frame.len())
            }
        }
    }
}

/// A `struct xdp_md` of a frame that came in on queue 0 of an interface.
fn context(length: usize, interface: u32) -> [u8; 24] {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    let fields = [0, length, 0, interface, 0, 0];
    let mut bytes = [0; 24];
    for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_ne_bytes());
    }
    bytes
}
