"""The broker's settings: `server.properties` and its logging.

All paths are relative to the data folder, which is the JVM's working directory: a Java properties file would spoil a
name with a comma, a space or a letter outside Latin-1.
"""

from streams.broker.tcp_ports import HOST

NODE_ID = 1
# Fixed, so that a folder formatted by another Kafka is recognised.
CLUSTER_ID = "ZGlhbHlzaXMtYWxlcnRzMQ"

_SERVER = """\
process.roles=broker,controller
node.id={node}
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=CLIENT://{host}:{port}
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
controller.quorum.voters={node}@{host}:{controller}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}

# A topic comes from `topics --create`, never from a client's typing error.
auto.create.topics.enable=false
# A dead letter holds the largest input message and its headers.
message.max.bytes=8388608

# Consumers join at once: nobody waits for more members on a development machine.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
# A worker may rest for long without losing its place.
offsets.retention.minutes=525600

# One node: every internal topic has one replica, and few partitions start faster.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# After a crash the controller, which restarts with it, lets the broker in only when its old session is over.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# The first entry of each index touches its file, mapped into memory at its full size: with the shipped 10 MB a handler
# took up to 0.2 s for it on ext4. An index of 1 MB serves 350 MB of a log, then a segment begins.
log.index.size.max.bytes=1048576

num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.io.buffer.size=524288
"""

_LOG4J = """\
status=error
# Kafka logs its own stop, which comes after log4j's hook.
shutdownHook=disable
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={log_file}
appender.file.filePattern={log_file}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{{1}}: %m%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
"""


def server_properties(port: int, controller: int, log_dir: str) -> str:
    """Write Kafka's settings.

    Args:
        port: The port for clients.
        controller: The port of the controller, to which only the broker itself connects.
        log_dir: The folder for Kafka's data.

    Returns:
        The text of `server.properties`.
    """
    return _SERVER.format(node=NODE_ID, host=HOST, port=port, controller=controller, log_dir=log_dir)


def log4j_properties(log_file: str) -> str:
    """Write the logging settings: everything to one file of bounded size.

    Args:
        log_file: The log file.

    Returns:
        The text of `log4j2.properties`.
    """
    return _LOG4J.format(log_file=log_file)
