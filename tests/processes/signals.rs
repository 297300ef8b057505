//! SIGTERM ends a served node in order. The signal is for the whole test process: no other test of this binary listens for it.

use anyhow::Result;
use quorate_server::Ended;
use quorate_tests::servers::Servers;
use quorate_tests::wait::eventually;

use crate::turn;

#[cfg(unix)]
#[tokio::test]
async fn sigterm_ends_in_order() -> Result<()> {
    let _turn = turn::shared();
    let servers = Servers::start(1).await?;
    servers.put(0, "/v1/kv/k", "v").await?.ok();
    let (running, address) = (servers.running(0).clone(), servers.running(0).api_addr());
    // It listens for signals from its first poll on.
    let mut ending = tokio::task::JoinSet::new();
    let (listening, heard) = tokio::sync::oneshot::channel();
    ending.spawn(async move {
        let mut ended = std::pin::pin!(running.until_signal());
        assert!(tokio::time::timeout(std::time::Duration::ZERO, ended.as_mut()).await.is_err());
        let _ = listening.send(());
        ended.await
    });
    heard.await?;
    let pid = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status()?.success());
    assert_eq!(ending.join_next().await.expect("a task")?, Ended::Stopped);
    eventually("the port is closed", async || {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await?;
    servers.stop_all().await
}
