use crate::{Error, Resolver};

/// How many CNAMEs are followed. Resolvers give up at about as many.
const MAX_CNAMES: usize = 8;

/// The name at which the TXT value for `name` belongs: `_acme-challenge.<name>`, or where its CNAMEs lead.
///
/// A CNAME there is how somebody delegates proofs to a zone that a gateway may write, without rights in the zone of the name
/// itself; the authority follows it just so. `*.x` and `x` have the same challenge name.
///
/// # Errors
/// [`Error::Refused`] when the chain is a loop or too long: nobody can follow it. [`Error::Unreachable`] when a resolver does
/// not answer: to guess that there is no CNAME would cost a failed validation, of which authorities allow few.
pub async fn challenge_target(resolver: &Resolver, name: &str) -> Result<String, Error> {
    let mut chain = Chain::from(challenge_name(name));
    while let Some(next) = resolver.cname(chain.end()).await? {
        chain.follow(next)?;
    }
    Ok(chain.0.pop().unwrap_or_default())
}

/// `_acme-challenge.<name>`, the wildcard label dropped (RFC 8555 §8.4): lower case, no dot at the end.
pub fn challenge_name(name: &str) -> String {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    format!("_acme-challenge.{}", name.to_ascii_lowercase())
}

/// The names that CNAMEs have led over; never empty. Not a function that takes a lookup: a future that holds an async closure
/// can't be sent between threads.
struct Chain(Vec<String>);

impl Chain {
    fn from(start: String) -> Self {
        Self(vec![start])
    }

    fn end(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    fn follow(&mut self, next: String) -> Result<(), Error> {
        let start = &self.0[0];
        if self.0.contains(&next) {
            return Err(refused(format!("the CNAMEs of {start} lead back to {next}")));
        }
        if self.0.len() > MAX_CNAMES {
            return Err(refused(format!("more than {MAX_CNAMES} CNAMEs from {start}")));
        }
        self.0.push(next);
        Ok(())
    }
}

fn refused(message: String) -> Error {
    Error::Refused { provider: "DNS", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_shares_the_name_of_its_parent() {
        assert_eq!(challenge_name("*.Example.com"), "_acme-challenge.example.com");
        assert_eq!(challenge_name("example.com."), "_acme-challenge.example.com");
    }

    #[test]
    fn cnames_are_followed_to_their_end_and_no_further() {
        let walk = |names: &[&str]| {
            let mut chain = Chain::from(names[0].to_owned());
            let steps = names[1..].iter().try_for_each(|next| chain.follow((*next).to_owned()));
            steps.map(|()| chain.end().to_owned())
        };
        let long = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];
        assert_eq!(walk(&long[..1]).unwrap(), "n0");
        assert_eq!(walk(&long[..3]).unwrap(), "n2");
        assert_eq!(walk(&long[..=MAX_CNAMES]).unwrap(), "n8");
        let error = walk(&long).unwrap_err();
        assert_eq!(error.to_string(), "DNS refuses: more than 8 CNAMEs from n0");
        let error = walk(&["n0", "n1", "n2", "n1"]).unwrap_err();
        assert_eq!(error.to_string(), "DNS refuses: the CNAMEs of n0 lead back to n1");
    }

    /// What an issuer awaits moves between threads.
    #[test]
    fn the_future_can_be_sent() {
        fn sent(_: &(impl Send + ?Sized)) {}
        let resolver = Resolver::of(&["127.0.0.1:53".parse().unwrap()]).unwrap();
        let _ = |name: &str| sent(&challenge_target(&resolver, name));
    }
}
