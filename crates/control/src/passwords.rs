use std::sync::Arc;
use std::time::Duration;

use auth::{Cost, Passwords};
use model::Secret;
use tokio::sync::Semaphore;

use crate::Error;

/// How many are hashed at once. Each takes a core for a fifth of a second; the data plane may share the machine.
const RUNNING: usize = 2;
/// How many may run or wait. Whoever comes then is told to come again: about three seconds of work are queued.
const QUEUED: usize = 32;

/// Hashes passwords on threads of their own, few at a time, behind a bounded queue.
#[derive(Debug)]
pub(crate) struct PasswordWorker {
    passwords: Passwords,
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl PasswordWorker {
    pub(crate) fn new(cost: Cost) -> Self {
        Self {
            passwords: Passwords::new(cost),
            queue: Arc::new(Semaphore::new(QUEUED)),
            running: Arc::new(Semaphore::new(RUNNING)),
        }
    }

    /// As [`Passwords::hash`], errors of the rules at `pointer`.
    pub(crate) async fn hash(
        &self,
        password: Secret<String>,
        pointer: &str,
    ) -> Result<Secret<String>, Error> {
        self.run(move |passwords| passwords.hash(&password)).await?.map_err(|error| match error {
            auth::Error::Password(rule) => Error::invalid(pointer, rule),
            other => Error::Internal(other.into()),
        })
    }

    /// As [`Passwords::verify`].
    pub(crate) async fn verify(
        &self,
        password: Secret<String>,
        hash: Option<Secret<String>>,
    ) -> Result<bool, Error> {
        self.run(move |passwords| passwords.verify(&password, hash.as_ref())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Passwords) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = |_| Error::Busy { retry_after: Duration::from_secs(5) };
        let place = self.queue.clone().try_acquire_owned().map_err(busy)?;
        let turn = self.running.clone().acquire_owned().await;
        let turn = turn.map_err(|error| Error::Internal(error.into()))?;
        let passwords = self.passwords.clone();
        // The permits go with the job: a caller that gives up does not make room for more than can run.
        let job = move || {
            let _held = (place, turn);
            job(&passwords)
        };
        tokio::task::spawn_blocking(job).await.map_err(|error| Error::Internal(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_answers_at_once() {
        let worker = PasswordWorker::new(Cost::new(4).unwrap());
        let all = worker.queue.clone().acquire_many_owned(32).await.unwrap();
        let refused = worker.verify(Secret::new("x".into()), None).await;
        assert!(matches!(refused, Err(Error::Busy { .. })));
        drop(all);
        assert!(!worker.verify(Secret::new("x".into()), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_broken_rule_names_its_field() {
        let worker = PasswordWorker::new(Cost::new(4).unwrap());
        let Err(Error::Invalid { errors }) =
            worker.hash(Secret::new("short".into()), "/password").await
        else {
            panic!("accepted");
        };
        assert_eq!(errors[0].pointer, "/password");
    }
}
