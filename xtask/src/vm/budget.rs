//! What each kernel may make of each program at most: a change that passes a budget fails here, and not one day on a host.
//!
//! The verifier gives up at a million instructions and at 512 bytes of stack. The budgets are far below: measured, and
//! about 15 % on top (of the stack on Linux 7, which tells the deepest chain of calls, 7 %). Who has a reason to pass one raises it, with that reason.

use super::console::Measures;
use super::kernels::Kernel;

/// The budgets: verified instructions, bytes for the kernel's own form of the program and for machine code, bytes of stack.
/// The verifiers differ in how many paths they follow.
const BUDGETS: [(Kernel, &str, [u64; 4]); 9] = [
    (Kernel::V6_1, "nodewall", [219_000, 115_000, 65_000, 240]),
    (Kernel::V6_1, "nodewall_egress", [14_500, 19_800, 11_400, 288]),
    (Kernel::V6_1, "nodewall_slots", [14_300, 22_300, 12_000, 340]),
    (Kernel::V6_12, "nodewall", [135_000, 116_000, 65_000, 240]),
    (Kernel::V6_12, "nodewall_egress", [24_200, 19_800, 11_400, 288]),
    (Kernel::V6_12, "nodewall_slots", [15_600, 22_300, 12_000, 340]),
    (Kernel::V7_2, "nodewall", [152_000, 116_000, 65_000, 480]),
    (Kernel::V7_2, "nodewall_egress", [26_400, 19_800, 11_400, 296]),
    (Kernel::V7_2, "nodewall_slots", [20_500, 22_300, 12_000, 350]),
];

/// What that program may be at most on that kernel.
pub fn budget(kernel: Kernel, program: &str) -> Option<Measures> {
    let is_it = |(on, name, _): &&(Kernel, &str, _)| *on == kernel && *name == program;
    let (.., [insns, xlated, jited, stack]) = *BUDGETS.iter().find(is_it)?;
    Some(Measures { insns, xlated, jited, stack })
}

/// What passes its budget on that kernel, in words; also a program without one, and a figure that the kernel did not tell.
pub fn exceeded(kernel: Kernel, program: &str, found: &Measures) -> Vec<String> {
    let Some(budget) = budget(kernel, program) else {
        return vec![format!("{program} has no budget (xtask/src/vm/budget.rs)")];
    };
    let pairs = found.all().into_iter().zip(budget.all());
    pairs
        .filter(|((_, found), (_, budget))| *found == 0 || found > budget)
        .map(|((what, found), (_, budget))| match found {
            0 => format!("{program}: the kernel did not tell {what}"),
            _ => format!("{program} has {found} {what}, and the budget is {budget}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_passes_and_what_is_not_is_named() {
        for (kernel, program, _) in BUDGETS {
            let within = budget(kernel, program).expect("each has one");
            assert_eq!(exceeded(kernel, program, &within), Vec::<String>::new());
            let over = Measures { insns: within.insns + 1, ..within };
            let words =
                format!("{program} has {} insns, and the budget is {}", over.insns, within.insns);
            assert_eq!(exceeded(kernel, program, &over), [words]);
            let over = Measures { stack: within.stack + 1, jited: 0, ..within };
            assert_eq!(exceeded(kernel, program, &over).len(), 2);
        }
        assert_eq!(exceeded(Kernel::V6_1, "other", &Measures::default()).len(), 1);
    }
}
