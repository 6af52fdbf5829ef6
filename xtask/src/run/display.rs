//! What a person sees: steps as they end, and below them counters that live, where there is a terminal. Plain lines
//! elsewhere.

use std::fmt::Display as Text;
use std::io::{self, Write};
use std::time::Duration;

use console::{Term, style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Width of a step's description.
const WHAT: usize = 48;

/// Where everything is shown. The cursor is never hidden and the screen never switched, so that there is nothing to
/// restore, however this ends.
pub struct Display {
    live: Option<Live>,
}

/// What is below the steps on a terminal.
struct Live {
    all: MultiProgress,
    step: ProgressBar,
    counters: ProgressBar,
}

impl Display {
    /// Standard output, be it a terminal or not.
    pub fn new() -> Self {
        let live = Term::stdout().is_term().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            let step = all.add(ProgressBar::new_spinner());
            let counters = all.add(ProgressBar::new_spinner());
            counters.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| {
                // A template that is not valid; this one is.
                ProgressStyle::default_spinner()
            }));
            Live { all, step, counters }
        });
        Self { live }
    }

    /// Whether [`Display::counters`] shows anything.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// A line that stays.
    pub fn line(&self, text: impl Text) {
        match &self.live {
            // An error is that of a terminal that is gone.
            Some(live) => drop(live.all.println(text.to_string())),
            // As is one here: whoever read it has seen enough.
            None => drop(writeln!(io::stdout(), "{text}")),
        }
    }

    /// The title of what follows.
    pub fn title(&self, text: &str) {
        self.line("");
        self.line(style(text).bold());
    }

    /// A step begins.
    pub fn begin(&self, what: &str) {
        if let Some(live) = &self.live {
            live.step.set_message(what.to_owned());
            live.step.enable_steady_tick(Duration::from_millis(100));
        }
    }

    /// A step ended: what was seen, or what was wrong.
    pub fn end(&self, what: &str, seen: Result<&str, &str>, took: Duration) {
        let (mark, seen) = match (seen, self.is_live()) {
            (Ok(seen), true) => (style("✓").green(), style(seen)),
            (Ok(seen), false) => (style("ok    "), style(seen)),
            (Err(seen), true) => (style("✗").red().bold(), style(seen).red()),
            (Err(seen), false) => (style("FAILED"), style(seen)),
        };
        let took = style(format!("{:>6.2} s", took.as_secs_f64())).dim();
        self.line(format!("  {mark} {what:<WHAT$} {took}  {seen}"));
    }

    /// Shows tables in the place of those before.
    pub fn counters(&self, tables: String) {
        if let Some(live) = &self.live {
            live.counters.set_message(tables);
        }
    }

    /// Removes what lives; the lines stay.
    pub fn close(&mut self) {
        if let Some(live) = self.live.take() {
            live.step.finish_and_clear();
            live.counters.finish_and_clear();
        }
    }
}
