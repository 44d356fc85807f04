//! What the service manager is told (sd_notify(3)). A manager that does not listen is no reason to stop.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long a manager that takes nothing is waited for: sending blocks when its socket is full.
const PATIENCE: Duration = Duration::from_secs(1);

/// `READY=1` with a line for `systemctl status`.
pub async fn ready(status: &str) {
    let status = status.to_owned();
    tell(move || sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])).await;
}

/// `RELOADING=1` with the time that `Type=notify-reload` asks for, and a line for `systemctl status`. To be followed by
/// [`ready`], whatever comes of it.
pub async fn reloading(status: &'static str) {
    tell(move || {
        let now = NotifyState::monotonic_usec_now()?;
        sd_notify::notify(&[NotifyState::Reloading, now, NotifyState::Status(status)])
    })
    .await;
}

/// `STOPPING=1` with a line for `systemctl status`.
pub async fn stopping(status: &'static str) {
    tell(move || sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])).await;
}

/// Pings the watchdog twice in its interval, for as long as it is polled; never completes.
///
/// To be polled by the task that drives the accept loops and the queue, so that it falls silent when that task hangs.
pub async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
    else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        tell(|| sd_notify::notify(&[NotifyState::Watchdog])).await;
    }
}

async fn tell(send: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    match timeout(PATIENCE, spawn_blocking(send)).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::debug!(%error, "the service manager does not listen"),
        Ok(Err(_)) | Err(_) => tracing::debug!("the service manager does not listen"),
    }
}
