use certs::{Journal, JournalError, OrderState};

/// Takes an order's answers out of the world: first what a provider holds, which nothing else would ever remove, then the
/// challenges. What could not be removed stays in `order`; the first reason is the error.
pub(crate) async fn clear(
    dns: &dyn dns::Directory,
    journal: &dyn Journal,
    order: &mut OrderState,
) -> Result<(), Obstacle> {
    let mut obstacle = None;
    let mut left = Vec::new();
    for value in std::mem::take(&mut order.txt) {
        let removed = match dns.by_id(&value.provider, &value.zone).await {
            Ok(Some(found)) => {
                found.provider.remove_txt(&found.zone, &value.name, &value.value).await
            }
            Ok(None) => {
                tracing::warn!(
                    name = value.name,
                    provider = value.provider,
                    "a TXT value stays in the DNS: its provider is gone from the settings"
                );
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(name = value.name, %error, "a TXT value can't be removed yet");
            obstacle.get_or_insert(Obstacle::Dns(error));
            left.push(value);
        }
    }
    order.txt = left;
    let mut left = Vec::new();
    for (domain, token) in std::mem::take(&mut order.challenges) {
        if let Err(error) = journal.withdraw(&domain, &token).await {
            tracing::debug!(domain, %error, "a challenge can't be taken back yet");
            obstacle.get_or_insert(Obstacle::Journal(error));
            left.push((domain, token));
        }
    }
    order.challenges = left;
    obstacle.map_or(Ok(()), Err)
}

/// Why something of an order is still in the world.
#[derive(Debug)]
pub(crate) enum Obstacle {
    Dns(dns::Error),
    Journal(JournalError),
}
