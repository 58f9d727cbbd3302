use std::sync::Arc;

use model::{Host, Hostname};
use static_files::Roots;

use crate::asks::Asks;
use crate::tables::Route;

/// Names that requests came for and the tables, not in sync, don't have: asked of the control plane on this machine.
#[derive(Debug, Default)]
pub struct Lookups {
    asks: Asks<Arc<Route>>,
    roots: Roots,
}

impl Lookups {
    /// Serving directories under these roots.
    pub(crate) fn set_roots(&mut self, roots: Roots) {
        self.roots = roots;
    }

    /// Says that somebody serves from now on.
    pub fn begin(&self) {
        self.asks.begin();
    }

    /// Takes a name out that somebody waits for; waits for one when there is none. For a single reader.
    pub async fn next(&self) -> Hostname {
        loop {
            if let Ok(name) = self.asks.next().await.parse() {
                return name;
            }
        }
    }

    /// Says which host answers a name: none, or one whose record may be used for a while.
    pub fn answer(&self, name: &Hostname, host: Option<Host>) {
        let route =
            host.filter(|host| host.enabled).map(|host| Route::new(host, &self.roots, None));
        let answer = route.and_then(|route| match route {
            Ok(route) => Some(Arc::new(route)),
            Err(error) => {
                tracing::warn!(%name, %error, "a host that was looked up can't be served");
                None
            }
        });
        self.asks.answer(name.as_str(), answer);
    }

    /// The route of a normalised name, if it is known in time.
    pub(crate) async fn ask(&self, name: &str) -> Option<Arc<Route>> {
        self.asks.ask(name).await
    }

    /// Forgets everything. Who waits is told nothing.
    pub(crate) fn forget(&self) {
        self.asks.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_off_answers_no_name() {
        let lookups = Lookups::default();
        lookups.begin();
        for enabled in [true, false] {
            let mut host = Host::new("*.test".parse().unwrap());
            host.enabled = enabled;
            let server = async {
                let asked = lookups.next().await;
                lookups.answer(&asked, Some(host));
            };
            let name = format!("{enabled}.test");
            let (found, ()) = tokio::join!(lookups.ask(&name), server);
            assert_eq!(found.is_some(), enabled);
        }
    }
}
