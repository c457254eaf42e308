"""Apache Kafka, one KRaft node on loopback: jars by Maven, pinned by a POM and a list of checksums."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path
from types import TracebackType

from tools.real import maven, tls
from tools.real.child import Child, NotHere, free_port, run

VERSION = "4.3.1"
NAME = f"kafka-{VERSION}"
HERE = Path(__file__).parent
POM, SUMS = HERE / "kafka-pom.xml", HERE / "kafka-jars.sha256"
JAVA = 17
READY_S = 60.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{sasl_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{sasl_listener}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=6
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=2
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""
SASL_PROPERTIES = """\
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={keystore}
listener.name.sasl_ssl.ssl.client.auth=none
"""
LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
"""


def missing() -> list[str]:
    """What this machine lacks to run the broker, each as found, expected, what to do; empty when nothing."""
    lacks = []
    java = shutil.which("java")
    if java is None:
        lacks.append(f"found no java; expected Java {JAVA} or newer; sudo apt-get install openjdk-{JAVA}-jre-headless")
    elif (version := _java_version(java)) < JAVA:
        lacks.append(
            f"found Java {version}; expected {JAVA} or newer; sudo apt-get install openjdk-{JAVA}-jre-headless"
        )
    if not maven.kept(NAME).is_dir() and shutil.which("mvn") is None:
        lacks.append(
            f"found neither Kafka's jars at {maven.kept(NAME)} nor mvn; "
            "expected one of them; sudo apt-get install maven"
        )
    return lacks


def fetch() -> Path:
    """The folder of the broker's jars, each checked against the list; fetched by Maven when they are not there yet.

    Raises:
        NotHere: no Java, no Maven, no network, or a jar that is not the one of the list.
    """
    if lacks := missing():
        raise NotHere(f"a machine without what Apache Kafka {VERSION} needs", "all of it", "; ".join(lacks))
    return maven.fetch(NAME, f"Apache Kafka {VERSION} (55 MB)", POM, SUMS)


def _java_version(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30.0)
    found = re.search(r'version "(\d+)', said.stderr + said.stdout)
    return int(found.group(1)) if found else 0


class Kafka:
    """One broker with its data in `folder`; ports of 0 are chosen once and kept over restarts.

    With `sasl` a second listener speaks SASL_SSL with SCRAM-SHA-512 and SCRAM-SHA-256.
    """

    def __init__(
        self, folder: Path, port: int = 0, controller: int = 0, *, sasl: bool = False, sasl_port: int = 0
    ) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._port, self._controller = port or free_port(), controller or free_port()
        self._sasl_port = (sasl_port or free_port()) if sasl else 0
        self._child = Child("Apache Kafka", self.folder / "kafka.log")
        self.username = "antin"
        self.start_s = 0.0

    @property
    def bootstrap(self) -> str:
        """Host and port of the plain listener."""
        return f"127.0.0.1:{self._port}"

    @property
    def sasl_bootstrap(self) -> str:
        """Host and port of the listener that wants TLS and a password.

        Raises:
            RuntimeError: the broker was made without `sasl`.
        """
        if not self._sasl_port:
            raise RuntimeError("this broker has no SASL_SSL listener: make it with sasl=True")
        return f"127.0.0.1:{self._sasl_port}"

    @property
    def ca_file(self) -> Path:
        """PEM of the authority that the SASL_SSL listener's certificate is from."""
        return self.folder / "tls" / "ca.pem"

    @property
    def password_file(self) -> Path:
        """The file, mode 0600, of the SCRAM password."""
        return self.folder / "scram-password"

    @property
    def password(self) -> str:
        """The SCRAM password, random for each data folder."""
        return self.password_file.read_text().strip()

    @property
    def pid(self) -> int:
        """The broker's own process id: no shell stands before it."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the broker's process is there."""
        return self._child.running

    def start(self) -> None:
        """Start on the same ports and data, and wait until metadata shows the broker; `start_s` says how long it took.

        Raises:
            NotHere: Java or the jars cannot be had.
            DidNotStart: it ended or was not ready in time.
        """
        jars = fetch()
        class_path = f"{jars}/*"
        configuration = self._configure()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(class_path, configuration)
        self.start_s = self._child.start(
            [
                "java", "-Xms192m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
                "-cp", class_path, "kafka.Kafka", str(configuration),
            ],
            ready=lambda: sees_itself(self._port),
            timeout=READY_S,
        )  # fmt: skip

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; the data stay."""
        self._child.end()

    def kill(self) -> None:
        """SIGKILL, as a crash would; `start()` brings it back with its data."""
        self._child.end(first=signal.SIGKILL)

    def __enter__(self) -> Kafka:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """The settings with which Antin uses the plain listener."""
        return {"ANTIN_KAFKA__BOOTSTRAP": self.bootstrap, "ANTIN_KAFKA__SECURITY": "PLAINTEXT"}

    def _configure(self) -> Path:
        text = PROPERTIES.format(
            port=self._port,
            controller=self._controller,
            data=self.folder / "data",
            sasl_listener=f",SASL_SSL://127.0.0.1:{self._sasl_port}" if self._sasl_port else "",
        )
        if self._sasl_port:
            keystore = self.folder / "tls" / "server.pem"
            if not keystore.exists():
                tls.make(keystore.parent)
            text += SASL_PROPERTIES.format(keystore=keystore)
        if not self.password_file.exists():
            self.password_file.touch(mode=0o600)
            self.password_file.write_text(secrets.token_urlsafe(24))
        (self.folder / "log4j2.properties").write_text(LOGGING)
        configuration = self.folder / "server.properties"
        configuration.write_text(text)
        return configuration

    def _format(self, class_path: str, configuration: Path) -> None:
        storage = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", class_path, "kafka.tools.StorageTool"]
        # The tool takes the password as an argument only: for as long as it runs, others on this machine can see it.
        users = [
            f"{mechanism}=[name={self.username},password={self.password}]"
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
        ]
        cluster = _cluster_id()
        run(
            [*storage, "format", "-t", cluster, "-c", str(configuration), "--standalone", "--ignore-formatted"]
            + [part for user in users for part in ("--add-scram", user)],
            what="formatting the broker's data folder",
            timeout=60.0,
        )


def _cluster_id() -> str:
    """Sixteen random bytes in base64 without padding, not starting with a dash, as `random-uuid` makes them."""
    while (made := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return made


def sees_itself(port: int) -> bool:
    """Whether a broker on the loopback port answers a metadata request with at least one broker that is not fenced."""
    # Metadata request, version 5 (kafka.apache.org/protocol): no topics, no creation; client id null.
    request = struct.pack(">hhihi?", 3, 5, 1, -1, 0, False)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as line:
            line.sendall(struct.pack(">i", len(request)) + request)
            # Size, correlation id, throttle time, then the number of brokers: four integers of four bytes.
            answer = b""
            while len(answer) < 16:
                part = line.recv(16 - len(answer))
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    return int(struct.unpack(">iiii", answer)[3]) > 0
