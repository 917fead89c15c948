//! Access tokens: who makes a request.
//!
//! A token is a user, its groups, its privileges and its integrity. That is all that opening a secured object looks at.

use super::sid::Sid;
use std::sync::Arc;

/// What a token is, in one word; for logs and for `SeTokenIsAdmin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The system account: kernel threads and services.
    System,
    /// A member of Administrators, elevated.
    Administrator,
    /// An interactive user without rights over the machine.
    User,
    /// An anonymous or restricted process (App container): not even `Users`.
    Restricted,
}

#[derive(Debug)]
struct Inner {
    kind: TokenKind,
    user: Sid,
    groups: Vec<Sid>,
}

/// An immutable token, cheap to clone.
#[derive(Clone, Debug)]
pub struct Token(Arc<Inner>);

impl Token {
    fn new(kind: TokenKind, user: Sid, groups: Vec<Sid>) -> Self {
        Self(Arc::new(Inner { kind, user, groups }))
    }

    /// The token of the system process.
    #[must_use]
    pub fn system() -> Self {
        Self::new(
            TokenKind::System,
            Sid::local_system(),
            vec![Sid::administrators(), Sid::everyone(), Sid::authenticated_users()],
        )
    }

    /// The token of an elevated administrator.
    #[must_use]
    pub fn administrator() -> Self {
        Self::new(
            TokenKind::Administrator,
            Sid::account(500),
            vec![Sid::everyone(), Sid::administrators(), Sid::users(), Sid::interactive(), Sid::authenticated_users()],
        )
    }

    /// The token of an interactive user who is no administrator.
    #[must_use]
    pub fn user() -> Self {
        Self::new(
            TokenKind::User,
            Sid::account(1001),
            vec![Sid::everyone(), Sid::users(), Sid::interactive(), Sid::authenticated_users()],
        )
    }

    /// A token with no group beyond Everyone.
    #[must_use]
    pub fn restricted() -> Self {
        Self::new(TokenKind::Restricted, Sid::account(1002), vec![Sid::everyone()])
    }

    /// The kind the token was made as.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.0.kind
    }

    /// Whether the token holds `sid` as its user or one of its groups.
    #[must_use]
    pub fn holds(&self, sid: &Sid) -> bool {
        self.0.user == *sid || self.0.groups.contains(sid)
    }

    /// Whether the Administrators group is in the token: the answer of `SeTokenIsAdmin`.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.holds(&Sid::administrators())
    }

    /// Whether two values are the same token object.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
