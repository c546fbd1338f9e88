"""The peers of the bench of the line, as programs: slaves of pymodbus and modbus-tk with the registers that are read."""

from __future__ import annotations

_PYMODBUS = """
import asyncio, logging, sys
from pymodbus import FramerType
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
logging.disable(logging.CRITICAL)
data = [SimData(first, count=count, values=7, datatype=DataType.REGISTERS) for first, count in ((26368, 145), (50512, 62))]
device = SimDevice(5, simdata=data)
"""
PYMODBUS_TCP = _PYMODBUS + """
asyncio.run(StartAsyncTcpServer(device, address=("127.0.0.1", int(sys.argv[1]))))
"""
PYMODBUS_RTU = _PYMODBUS + """
asyncio.run(StartAsyncSerialServer(device, framer=FramerType.RTU, port=sys.argv[1], baudrate=38400))
"""
MODBUS_TK_RTU = """
import logging, sys, threading
import serial
from modbus_tk import defines, modbus_rtu
logging.disable(logging.CRITICAL)
server = modbus_rtu.RtuServer(serial.Serial(sys.argv[1], 38400))
block = server.add_slave(5).add_block("b", defines.HOLDING_REGISTERS, 50512, 62)
server.get_slave(5).set_values("b", 50512, [7] * 62)
server.start()
threading.Event().wait()
"""
