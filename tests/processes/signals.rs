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
    let mut ending = tokio::task::JoinSet::new();
    ending.spawn(running.until_signal()?);
    let pid = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status()?.success());
    assert_eq!(ending.join_next().await.expect("a task")?, Ended::Stopped);
    eventually("the port is closed", async || {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await?;
    servers.stop_all().await
}
