// EU DSS as a peer of `make bench-verify`: validates one file so often a line, in one warm JVM, and says what that took.
// Arguments: the root (DER), then CRLs (DER). A line in: seconds of warm-up, repetitions, path. A line out: milliseconds
// of processor and of the clock for one validation, and the indications.
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.TreeSet;

public class DssPeer {
    static String[] roots;

    static SimpleReport validate(byte[] data) throws Exception {
        CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
        trusted.addCertificate(DSSUtils.loadCertificate(new File(roots[0])));
        CommonCertificateVerifier verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(trusted);
        verifier.setAIASource(null);
        verifier.setOcspSource(null);
        verifier.setCrlSource(new ExternalResourcesCRLSource(Arrays.stream(roots).skip(1).map(DssPeer::read).toArray(InMemoryDocument[]::new)));
        SignedDocumentValidator validator = SignedDocumentValidator.fromDocument(new InMemoryDocument(data));
        validator.setCertificateVerifier(verifier);
        return validator.validateDocument().getSimpleReport();
    }

    static InMemoryDocument read(String path) {
        try {
            return new InMemoryDocument(Files.readAllBytes(Path.of(path)));
        } catch (java.io.IOException fault) {
            throw new java.io.UncheckedIOException(fault);
        }
    }

    public static void main(String[] given) throws Exception {
        roots = given;
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] order = line.split(" ", 3);
            byte[] data = Files.readAllBytes(Path.of(order[2]));
            int often = Integer.parseInt(order[1]);
            long warm = System.nanoTime() + (long) (Double.parseDouble(order[0]) * 1e9);
            while (System.nanoTime() < warm) validate(data);
            long processor = system.getProcessCpuTime(), clock = System.nanoTime();
            SimpleReport report = null;
            for (int i = 0; i < often; i++) report = validate(data);
            double spent = (system.getProcessCpuTime() - processor) / 1e6 / often, took = (System.nanoTime() - clock) / 1e6 / often;
            var said = new TreeSet<String>();
            for (String id : report.getSignatureIdList()) said.add(String.valueOf(report.getIndication(id)));
            System.out.println(spent + " " + took + " " + String.join("+", said));
            System.out.flush();
        }
    }
}
