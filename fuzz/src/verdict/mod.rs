//! The packet reader and the verdict, as the kernel program has them, over the
//! model: a policy with everything in it, and a script of what happens.

mod check;
mod host;
mod policies;

use filter_common::{Origin, Socket};

use self::host::Host;
use crate::input::Input;

/// Plays a script. Each step is a byte, of which the low three bits say what
/// happens and the others how, and what it needs after that.
pub fn verdict(data: &[u8]) {
    let mut input = Input(data);
    let mut host = Host::new(input.byte());
    while !input.is_empty() {
        let step = input.byte();
        let how = step >> 3;
        match step & 7 {
            0 => {
                host.wait(how >> 2);
                host.receive(how & 3, frame(&mut input));
            }
            1 => (0..=how >> 1).for_each(|_| host.receive_again()),
            2 => {
                host.wait(how >> 4);
                host.send(how & 3, frame(&mut input), origin(how >> 2));
            }
            3 => host.ban(how, input.byte()),
            4 => host.set_socket(socket(how)),
            5 => host.switch(how),
            6 => host.hold(how, input.byte()),
            _ => host.know(how),
        }
    }
}

fn frame<'a>(input: &mut Input<'a>) -> &'a [u8] {
    let length = input.short();
    input.take(length.into())
}

fn origin(how: u8) -> Origin {
    [Origin::Own, Origin::Bound, Origin::Forwarded, Origin::Forwarded][usize::from(how & 3)]
}

fn socket(how: u8) -> Socket {
    [Socket::None, Socket::Live, Socket::HalfOpen, Socket::Cookie][usize::from(how & 3)]
}
