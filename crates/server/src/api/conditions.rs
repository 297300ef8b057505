//! Conditions on a request (RFC 9110, section 13): `If-Match` and `If-None-Match`, where a key's version is its entity tag.
//!
//! A condition that is passed over is worse than none: the client takes it for kept. So what is not understood here is refused,
//! and `understood` refuses every condition on calls that have no versions.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use quorate::Index;
use quorate::machine::KvExpected;

use super::code::Code;
use super::headers::{decimal, text_header};
use super::problem::Problem;

const IF_MATCH: &str = "if-match";
const IF_NONE_MATCH: &str = "if-none-match";

/// The condition of a write, which the state machine checks when it applies the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteCondition {
    /// The request has neither.
    None,
    /// `If-None-Match: *`: the key has no value.
    Absent,
    /// `If-Match: "12"`: the key's value has this version.
    Version(Index),
    /// `If-Match: *`: the key has a value.
    Present,
}

impl WriteCondition {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match (text_header(headers, IF_MATCH)?, text_header(headers, IF_NONE_MATCH)?) {
            (None, None) => Ok(Self::None),
            (None, Some("*")) => Ok(Self::Absent),
            (None, Some(_)) => wrong("If-None-Match on a write takes only *: the key must have no value"),
            (Some(_), Some(_)) => {
                wrong("If-Match and If-None-Match on one write contradict each other; send one")
            }
            (Some(text), None) => match Self::of_match(text) {
                Some(condition) => Ok(condition),
                None => {
                    wrong("If-Match on a write takes * or one version: the Quorate-Index or ETag of a read")
                }
            },
        }
    }

    /// Any version, or a single one: the state machine compares with no list.
    fn of_match(text: &str) -> Option<Self> {
        match Tags::parse(text)? {
            Tags::Any => Some(Self::Present),
            Tags::These(tags) => match tags[..] {
                [Tag { weak: false, version: Some(version) }] => Some(Self::Version(version)),
                _ => None,
            },
        }
    }

    /// The state that a compare-and-set must find; `None`: any.
    pub(crate) fn expected(self) -> Option<KvExpected> {
        match self {
            Self::None => None,
            Self::Absent => Some(KvExpected::Absent),
            Self::Version(index) => Some(KvExpected::Index(index)),
            Self::Present => Some(KvExpected::Present),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for WriteCondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

/// The conditions of a read, checked against the version that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadConditions {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
}

/// What a read answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadVerdict {
    /// As without conditions.
    Answered,
    /// 304: the client has this version.
    NotModified,
    /// 412.
    Failed,
}

impl ReadConditions {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let tags = |name: &'static str| {
            let Some(text) = text_header(headers, name)? else { return Ok(None) };
            let Some(tags) = Tags::parse(text) else {
                return wrong(&format!("header {name} is not * or a list of entity tags, such as \"12\""));
            };
            Ok(Some(tags))
        };
        Ok(Self { matches: tags(IF_MATCH)?, matches_none: tags(IF_NONE_MATCH)? })
    }

    /// For a key of this version; `None` if it has no value.
    pub(crate) fn check(&self, version: Option<Index>) -> ReadVerdict {
        let holds = |tags: &Tags, weakly| version.is_some_and(|version| tags.have(version, weakly));
        if self.matches.as_ref().is_some_and(|tags| !holds(tags, false)) {
            return ReadVerdict::Failed;
        }
        if self.matches_none.as_ref().is_some_and(|tags| holds(tags, true)) {
            return ReadVerdict::NotModified;
        }
        ReadVerdict::Answered
    }
}

impl<S: Sync> FromRequestParts<S> for ReadConditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

/// Entity tags that a client has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`: every version.
    Any,
    These(Vec<Tag>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    /// `W/`: good enough to be told "not modified", never to match.
    weak: bool,
    /// `None`: no tag that this API gives.
    version: Option<Index>,
}

impl Tags {
    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let (mut tags, mut rest) = (Vec::new(), text.trim());
        loop {
            let (tag, after) = Tag::parse(rest)?;
            tags.push(tag);
            match after.trim_start().strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None if after.trim().is_empty() => return Some(Self::These(tags)),
                None => return None,
            }
        }
    }

    fn have(&self, version: Index, weakly: bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| tag.version == Some(version) && (weakly || !tag.weak)),
        }
    }
}

impl Tag {
    /// The first tag of a list and what follows it. A version without quotes is one too: `Quorate-Index` has none.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        if let Some(quoted) = quoted.strip_prefix('"') {
            let (content, after) = quoted.split_once('"')?;
            return Some((Self { weak, version: decimal(content).map(Index) }, after));
        }
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (version, after) = text.split_at(end);
        Some((Self { weak: false, version: Some(Index(decimal(version)?)) }, after))
    }
}

fn wrong<T>(detail: &str) -> Result<T, Problem> {
    Err(Problem::new(Code::BadParameter, detail))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn a_write_is_bound_to_one_version_to_any_or_to_none() {
        let read = |name, text| WriteCondition::of(&headers(&[(name, text)]));
        assert_eq!(read(IF_MATCH, "\"12\""), Ok(WriteCondition::Version(Index(12))));
        assert_eq!(read(IF_MATCH, "12"), Ok(WriteCondition::Version(Index(12))));
        assert_eq!(read(IF_NONE_MATCH, "*"), Ok(WriteCondition::Absent));
        assert_eq!(read(IF_MATCH, "*"), Ok(WriteCondition::Present));
        for wrong in
            ["*, *", "\"a\"", "", "\"12", "12\"", "+12", "012", "\"12\", \"13\"", "W/\"12\"", "\"12\" x"]
        {
            assert_eq!(read(IF_MATCH, wrong).expect_err(wrong).code, Code::BadParameter);
        }
        assert!(read(IF_NONE_MATCH, "\"12\"").is_err() && read(IF_NONE_MATCH, "").is_err());
        let both = headers(&[(IF_MATCH, "\"1\""), (IF_NONE_MATCH, "*")]);
        let twice = headers(&[(IF_MATCH, "\"1\""), (IF_MATCH, "\"1\"")]);
        assert!(WriteCondition::of(&both).is_err() && WriteCondition::of(&twice).is_err());
    }

    #[test]
    fn a_read_is_compared_with_what_the_client_has() {
        use ReadVerdict::{Answered, Failed, NotModified};
        let check = |pairs: &[_], version: Option<u64>| {
            ReadConditions::of(&headers(pairs)).expect("conditions").check(version.map(Index))
        };
        for (pairs, at_12, absent) in [
            (&[][..], Answered, Answered),
            (&[(IF_NONE_MATCH, "\"12\"")], NotModified, Answered),
            (&[(IF_NONE_MATCH, "\"1\", W/\"12\"")], NotModified, Answered),
            (&[(IF_NONE_MATCH, "\"a,b\" , 12")], NotModified, Answered),
            (&[(IF_NONE_MATCH, "*")], NotModified, Answered),
            (&[(IF_NONE_MATCH, "\"1\",\"x\"")], Answered, Answered),
            (&[(IF_MATCH, "\"12\"")], Answered, Failed),
            (&[(IF_MATCH, "*")], Answered, Failed),
            (&[(IF_MATCH, "W/\"12\"")], Failed, Failed),
            (&[(IF_MATCH, "\"1\", \"2\"")], Failed, Failed),
            (&[(IF_MATCH, "\"12\""), (IF_NONE_MATCH, "\"12\"")], NotModified, Failed),
            (&[(IF_MATCH, "\"1\""), (IF_NONE_MATCH, "\"12\"")], Failed, Failed),
        ] {
            assert_eq!((check(pairs, Some(12)), check(pairs, None)), (at_12, absent), "{pairs:?}");
        }
        for wrong in ["", "a", "\"1", "\"1\" \"2\"", "\"1\",", ",", "W/1", "*, \"1\""] {
            for name in [IF_MATCH, IF_NONE_MATCH] {
                let read = ReadConditions::of(&headers(&[(name, wrong)]));
                assert_eq!(read.expect_err(wrong).code, Code::BadParameter);
            }
        }
        assert!(ReadConditions::of(&headers(&[(IF_NONE_MATCH, "*"), (IF_NONE_MATCH, "*")])).is_err());
    }
}
