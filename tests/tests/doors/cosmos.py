"""A COSMOS interface as its plugin's line makes it: prints each packet that it reads, in hex.

Arguments: how many packets, then the parameters behind the interface's file name.
"""

import sys

from openc3.interfaces.tcpip_client_interface import TcpipClientInterface

packets, parameters = int(sys.argv[1]), sys.argv[2:]
interface = TcpipClientInterface(*parameters)
interface.connect()
for _ in range(packets):
    packet = interface.read()
    if packet is None:
        sys.exit("the connection ended")
    print(packet.buffer.hex(), flush=True)
interface.disconnect()
