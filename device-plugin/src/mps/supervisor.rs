//! Starting the daemon, watching it, and starting it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::daemon::Daemon;
use super::demand::Demand;
use super::program::Program;
use super::{STARTING, Standing};

/// How long after it ended the daemon is started again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// No wait is longer, and a daemon that ran for so long has its end forgiven.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How often a daemon that has yet to answer is asked, and one that answers.
const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(5);
/// A daemon that has not answered for so long is ended and started again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks after the daemon for as long as there is anybody to want it.
#[derive(Debug)]
pub(super) struct Supervisor {
    program: Program,
    standing: watch::Sender<Standing>,
    news: Arc<Notify>,
}

/// Why a run of the daemon is over.
enum End {
    /// Nobody wants it any more.
    Unwanted,
    /// It is wanted for GPUs that it does not see.
    Outgrown,
    /// It failed, for this reason.
    Failed(String),
}

impl Supervisor {
    pub(super) fn new(program: Program, standing: watch::Sender<Standing>, news: Arc<Notify>) -> Supervisor {
        Supervisor { program, standing, news }
    }

    pub(super) async fn run(self, mut wanted: watch::Receiver<Demand>) {
        let mut wait = FIRST_WAIT;
        while wanted.wait_for(|demand| !demand.is_empty()).await.is_ok() {
            let started = Instant::now();
            match self.serve(&mut wanted).await {
                End::Failed(why) => {
                    if started.elapsed() > LONGEST_WAIT {
                        wait = FIRST_WAIT;
                    }
                    self.pause(wait, &why, &mut wanted).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                End::Unwanted => {
                    wait = FIRST_WAIT;
                    self.start_over("the MPS daemon is not wanted any more, and ended");
                }
                End::Outgrown => self.start_over("the MPS daemon is started again, for more GPUs"),
            }
        }
    }

    fn start_over(&self, why: &str) {
        tracing::info!("{why}");
        self.tell(Standing::Waiting(STARTING.to_owned()));
    }

    /// Waits until the daemon may be started again, unless nobody wants it any more.
    async fn pause(&self, wait: Duration, why: &str, wanted: &mut watch::Receiver<Demand>) {
        tracing::warn!("the MPS daemon is not running, and is started again in {wait:?}: {why}");
        self.tell(Standing::Waiting(format!("the MPS daemon is not running: {why}")));
        tokio::select! {
            () = sleep(wait) => {}
            _ = wanted.wait_for(Demand::is_empty) => {}
        }
    }

    /// One run of the daemon, which is over when this returns.
    async fn serve(&self, wanted: &mut watch::Receiver<Demand>) -> End {
        let demand = wanted.borrow_and_update().clone();
        let mut daemon = match Daemon::start(&self.program, &demand).await {
            Ok(daemon) => daemon,
            Err(why) => return End::Failed(why),
        };
        let end = self.attend(&mut daemon, demand, wanted).await;
        let end = match end {
            End::Failed(why) => {
                let last = daemon.last_words(&self.program).await;
                let said = if last.is_empty() { "it said nothing" } else { last.as_str() };
                End::Failed(format!("{why}: {said}"))
            }
            end => end,
        };
        daemon.stop(&self.program).await;
        end
    }

    /// Watches `daemon`, which was started for `seen`, until it is over.
    async fn attend(&self, daemon: &mut Daemon, seen: Demand, wanted: &mut watch::Receiver<Demand>) -> End {
        let (mut demand, mut in_force) = (seen.clone(), None);
        let mut answered = Instant::now();
        loop {
            match self.enforce(&demand, in_force.as_ref()).await {
                Ok(()) => {
                    answered = Instant::now();
                    in_force = Some(demand.clone());
                    self.tell(Standing::Ready(demand.clone()));
                }
                Err(why) if answered.elapsed() > PATIENCE => return End::Failed(why),
                // One that has yet to answer has the reason it had.
                Err(why) => {
                    if in_force.take().is_some() {
                        let why = format!("the MPS daemon does not answer: {why}");
                        self.tell(Standing::Waiting(why));
                    }
                }
            }
            tokio::select! {
                how = daemon.ended() => return End::Failed(how),
                gone = wanted.changed() => match gone {
                    Ok(()) => demand = wanted.borrow_and_update().clone(),
                    Err(_) => demand = Demand::default(),
                },
                () = sleep(if in_force.is_some() { SELDOM } else { OFTEN }) => {}
            }
            if demand.is_empty() {
                return End::Unwanted;
            }
            if !seen.covers(&demand) {
                return End::Outgrown;
            }
        }
    }

    /// Asks whether the daemon is there, and has it enforce `demand` unless that is `in_force`.
    async fn enforce(&self, demand: &Demand, in_force: Option<&Demand>) -> Result<(), String> {
        self.program.ask("get_server_list").await?;
        self.program.cut_logs().await;
        if in_force == Some(demand) {
            return Ok(());
        }
        for command in demand.commands() {
            let said = self.program.ask(&command).await?;
            tracing::info!(command, said, "told the MPS daemon");
        }
        Ok(())
    }

    fn tell(&self, new: Standing) {
        let changed = self.standing.send_if_modified(|standing| {
            let changed = *standing != new;
            *standing = new;
            changed
        });
        if changed {
            self.news.notify_one();
        }
    }
}
