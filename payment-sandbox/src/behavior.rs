//! How the sandbox behaves, which a caller chooses by the payment token.

/// How the sandbox behaves towards one payment: in its authorization, and in every later call about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// Approves at once.
    Approve,
    /// Declines the authorization.
    Decline,
    /// Does the work, then answers late. Repeats are answered at once.
    Slow,
    /// Does the work, then answers UNAVAILABLE. Repeats are answered.
    Lose,
}

impl Behavior {
    /// What the token asks for by its prefix. Any other token is approved.
    pub(crate) fn of_token(token: &str) -> Self {
        [Self::Decline, Self::Slow, Self::Lose]
            .into_iter()
            .find(|behavior| token.starts_with(behavior.as_str()))
            .unwrap_or(Self::Approve)
    }

    /// The prefix, which is also the name under which the behavior is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Decline => "decline",
            Self::Slow => "slow",
            Self::Lose => "lose",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_the_token_decides() {
        assert_eq!(Behavior::of_token("approve-1"), Behavior::Approve);
        assert_eq!(Behavior::of_token("decline"), Behavior::Decline);
        assert_eq!(Behavior::of_token("slow_card"), Behavior::Slow);
        assert_eq!(Behavior::of_token("lose:x"), Behavior::Lose);
        assert_eq!(Behavior::of_token("tok_visa"), Behavior::Approve);
    }
}
