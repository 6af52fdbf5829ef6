//! What a test says should become of a packet.

use filter_common::{Outcome, Reason, RuleId, Scope};
use filter_user::compile::Numbers;

/// The outcome of one packet, with its rule by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    reason: Reason,
    rule: Option<&'static str>,
    scope: Option<Scope>,
    monitored: Option<Reason>,
}

impl From<Reason> for Expected {
    /// No rule is party to it.
    fn from(reason: Reason) -> Self {
        Self { reason, rule: None, scope: None, monitored: None }
    }
}

impl Expected {
    /// The rule admits it.
    #[must_use]
    pub fn rule(name: &'static str) -> Self {
        Self::by(name, Reason::Rule)
    }

    /// The rule decides, and none of its limits is the reason.
    #[must_use]
    pub fn by(name: &'static str, reason: Reason) -> Self {
        Self { rule: Some(name), ..Self::from(reason) }
    }

    /// The limit that `reason` stands for refuses it, in the scope of its source.
    #[must_use]
    pub fn refused(name: &'static str, reason: Reason) -> Self {
        Self::over(name, reason, Scope::PerSource)
    }

    /// The limit that `reason` stands for refuses it, in a scope.
    #[must_use]
    pub fn over(name: &'static str, reason: Reason, scope: Scope) -> Self {
        Self { scope: Some(scope), ..Self::by(name, reason) }
    }

    /// Monitor mode lets it through.
    #[must_use]
    pub fn monitored(self) -> Self {
        Self { reason: Reason::Monitor, monitored: Some(self.reason), ..self }
    }

    /// As the program and the model say it.
    ///
    /// # Panics
    /// If no policy has named the rule yet.
    #[must_use]
    pub fn outcome(&self, rules: &Numbers) -> Outcome {
        let number = |name| match rules.get(name) {
            Some(number) => number,
            None => panic!("no policy of this test has a rule `{name}`"),
        };
        Outcome {
            reason: self.reason,
            monitored: self.monitored,
            rule: self.rule.map(|name| RuleId::new(number(name))),
            scope: self.scope,
        }
    }
}
