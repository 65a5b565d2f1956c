# One libtorrent session for the bench: seeds a file it is told to trust, or fetches one from a peer it is told of.
# Says "ready" on stdout when it listens, and ends when the file is whole, checked and handed to the system.
# usage: session.py seed|get TORRENT FOLDER PORT [PEER_PORT]
import sys

import libtorrent as lt

mode, torrent, folder, port = sys.argv[1:5]
session = lt.session({
    "listen_interfaces": "127.0.0.1:" + port,
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_outgoing_utp": False, "enable_incoming_utp": False,
    "in_enc_policy": 2, "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification
    | lt.alert.category_t.error_notification,
})
params = lt.add_torrent_params()
params.ti = lt.torrent_info(torrent)
params.save_path = folder
params.trackers = []
if mode == "seed":
    params.flags |= lt.torrent_flags.seed_mode
handle = session.add_torrent(params)
if mode == "get":
    handle.connect_peer(("127.0.0.1", int(sys.argv[5])))
while True:
    session.wait_for_alert(1000)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.listen_succeeded_alert):
            print("ready", flush=True)
        if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert, lt.listen_failed_alert)):
            sys.exit(str(alert.message()))
        if mode == "get" and isinstance(alert, lt.torrent_finished_alert):
            handle.flush_cache()
        if mode == "get" and isinstance(alert, lt.cache_flushed_alert) and handle.status().is_seeding:
            print("done", flush=True)
            sys.exit(0)
