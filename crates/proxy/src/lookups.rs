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

    /// Answers names by the hosts that `find` comes upon. Never ends; for one at a time.
    pub async fn serve<F>(&self, find: impl Fn(Hostname) -> F)
    where
        F: Future<Output = Option<Host>>,
    {
        let find = &find;
        let route = async |name: String| self.route(find(name.parse().ok()?).await?);
        self.asks.serve(route).await;
    }

    fn route(&self, host: Host) -> Option<Arc<Route>> {
        if !host.enabled {
            return None;
        }
        let route = Route::new(host, &self.roots, None).inspect_err(|error| {
            tracing::warn!(%error, "a host that was looked up can't be served");
        });
        route.ok().map(Arc::new)
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
        let serving = lookups.serve(async |name| {
            let mut host = Host::new("*.test".parse().ok()?);
            host.enabled = name.as_str() == "on.test";
            Some(host)
        });
        tokio::select! {
            biased;
            () = serving => {}
            (on, off) = async { tokio::join!(lookups.ask("on.test"), lookups.ask("off.test")) } => {
                assert!(on.is_some() && off.is_none());
            }
        }
    }
}
