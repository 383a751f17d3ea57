//! A client and a server with one link between them: what transport and congestion control are
//! measured on.

use std::sync::Arc;

use anyhow::Context as _;
use codecs::{link::profile::Profile, time::Tai};
use codecs_quic::{Role, TransportOptions, client_tls, transport};
use groundstation::shell::tls::server_tls;
use quinn_proto::{
    ClientConfig, Connection, ConnectionId, ServerConfig, TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

use super::{
    identity::{Authority, Identity, SERVER_NAME},
    net::{Control, Leg, LinkId, Net, NodeId, Settings, Turn},
    shell::epoch::Standing,
};
use crate::rng::Random;

/// What a pair is made from.
pub struct PairSettings {
    /// Settings of the sending side.
    pub client: Profile,
    /// Settings of the station.
    pub server: Profile,
    /// What both sites chose.
    pub options: TransportOptions,
    /// Congestion control of the client; the library's own where there is none.
    pub control: Option<Control>,
    /// When the scenario starts; the legs go by the same time.
    pub start: Tai,
    /// All randomness but that of the legs.
    pub seed: u64,
}

/// Two nodes and a connection from the first to the second.
pub struct Pair {
    /// The net that holds them.
    pub net: Net,
    /// The client's side.
    pub client: LinkId,
    /// The server's side, once the first packet came.
    pub server: Option<LinkId>,
    /// Where the client is.
    pub client_node: NodeId,
    /// Where the server is.
    pub server_node: NodeId,
}

impl Pair {
    /// Makes the pair with a leg each way (`up` leads to the server), and begins to connect.
    ///
    /// # Errors
    /// Transport settings out of bounds.
    pub fn new(
        settings: PairSettings,
        up: Box<dyn Leg>,
        down: Box<dyn Leg>,
    ) -> anyhow::Result<Self> {
        let PairSettings { client, server, options, control, start, seed } = settings;
        let authority = Authority::new(seed)?;
        let (station, craft) = (authority.station("station")?, authority.client("client")?);
        let numbers = transport(&server, Role::Server, &options)?;
        let config = server_config(&authority, &station, start, numbers)?;
        let mut net = Net::new(start);
        let server_node = net.add(Settings {
            seed: seed ^ 1,
            key: station.key_hash,
            options,
            server: Some(Arc::new(config)),
        });
        let client_node =
            net.add(Settings { seed: seed ^ 2, key: craft.key_hash, options, server: None });
        net.lay(client_node, server_node, up);
        net.lay(server_node, client_node, down);
        let mut numbers = transport(&client, Role::Client, &options)?;
        if let Some(control) = control {
            numbers.congestion_controller_factory(control);
        }
        let config = client_config(&craft, &station, Arc::new(numbers), seed)?;
        let client = net.connect(client_node, server_node, config, SERVER_NAME)?;
        Ok(Self { net, client, server: None, client_node, server_node })
    }

    /// Goes on to the next event of either side, no further than `until_ns`.
    pub fn next(&mut self, until_ns: u64) -> Option<Turn> {
        let turn = self.net.next(until_ns);
        if let Some(Turn::Connection(id)) = turn
            && id.node == self.server_node
        {
            self.server = Some(id);
        }
        turn
    }

    /// The client's connection.
    pub fn client(&mut self) -> Option<&mut Connection> {
        self.net.connection(self.client)
    }

    /// The server's connection.
    pub fn server(&mut self) -> Option<&mut Connection> {
        self.net.connection(self.server?)
    }
}

/// What a station takes connections with: its own TLS, and a clock that stands.
///
/// # Errors
/// An identity that does not hold together.
pub fn server_config(
    authority: &Authority,
    station: &Identity,
    start: Tai,
    numbers: TransportConfig,
) -> anyhow::Result<ServerConfig> {
    let mut config = ServerConfig::with_crypto(Arc::new(server_crypto(authority, station, start)?));
    config.transport_config(Arc::new(numbers)).time_source(Arc::new(Standing(start)));
    Ok(config)
}

/// A station's side of TLS, its dates checked at `start`.
///
/// # Errors
/// An identity that does not hold together.
pub fn server_crypto(
    authority: &Authority,
    station: &Identity,
    start: Tai,
) -> anyhow::Result<QuicServerConfig> {
    let mut tls = server_tls(authority.roots()?, station.chain.clone(), station.key())?;
    tls.time_provider = Arc::new(Standing(start));
    QuicServerConfig::try_from(tls).context("TLS for QUIC")
}

/// What a spacecraft connects with: its own TLS, the station's key pinned.
///
/// # Errors
/// An identity that does not hold together.
pub fn client_config(
    craft: &Identity,
    station: &Identity,
    numbers: Arc<TransportConfig>,
    seed: u64,
) -> anyhow::Result<ClientConfig> {
    let tls = client_tls(craft.chain.clone(), craft.key(), vec![station.key_hash])?;
    let crypto = QuicClientConfig::try_from(tls).context("TLS for QUIC")?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let first = Random::new(seed, "first connection id").bits();
    // Each attempt has a config of its own, so one id is enough.
    config
        .transport_config(numbers)
        .initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&first.to_be_bytes())));
    Ok(config)
}
