// Signers in Java as peers of `make bench-sign`, in one warm JVM.
// Arguments: folder with signer.p12 (password "bench"), root.pem and *.crl; URL of the timestamp authority.
// A line in: implementation, level, seconds of warm-up, repetitions, input, output. A
// line out: milliseconds of processor for one signature, or the word "error" and a reason.
import com.itextpdf.kernel.pdf.PdfReader;
import com.itextpdf.signatures.CrlClientOffline;
import com.itextpdf.signatures.PdfPadesSigner;
import com.itextpdf.signatures.SignerProperties;
import com.itextpdf.signatures.TSAClientBouncyCastle;
import eu.europa.esig.dss.enumerations.SignatureLevel;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.pades.PAdESSignatureParameters;
import eu.europa.esig.dss.pades.signature.PAdESService;
import eu.europa.esig.dss.service.http.commons.TimestampDataLoader;
import eu.europa.esig.dss.service.tsp.OnlineTSPSource;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.token.DSSPrivateKeyEntry;
import eu.europa.esig.dss.token.Pkcs12SignatureToken;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Calendar;
import java.util.Date;
import java.util.List;
import org.apache.pdfbox.Loader;
import org.apache.pdfbox.pdmodel.PDDocument;
import org.apache.pdfbox.pdmodel.interactive.digitalsignature.PDSignature;
import org.apache.pdfbox.cos.COSName;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.ess.ESSCertIDv2;
import org.bouncycastle.asn1.ess.SigningCertificateV2;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.DefaultSignedAttributeTableGenerator;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

public class SignPeers {
    interface Signer { byte[] sign(byte[] data, String level) throws Exception; }

    static final char[] PASSWORD = "bench".toCharArray();
    static String folder, tsa;
    static PrivateKey key;
    static Certificate[] chain;
    static byte[][] crls;

    static Signer itext() {
        return (data, level) -> {
            var out = new ByteArrayOutputStream(data.length + 65536);
            var signer = new PdfPadesSigner(new PdfReader(new ByteArrayInputStream(data)), out);
            signer.setStampingProperties(new com.itextpdf.kernel.pdf.StampingProperties().useAppendMode());
            signer.setTrustedCertificates(List.of(chain[chain.length - 1]));
            var properties = new SignerProperties().setFieldName("bench");
            var stamp = new TSAClientBouncyCastle(tsa, null, null, 8192, "SHA-256");
            switch (level) {
                case "B-B" -> signer.signWithBaselineBProfile(properties, chain, key);
                case "B-T" -> signer.signWithBaselineTProfile(properties, chain, key, stamp);
                default -> {
                    signer.setCrlClient(new CrlClientOffline(crls[0]) {
                        @Override public java.util.Collection<byte[]> getEncoded(X509Certificate certificate, String url) {
                            return Arrays.asList(crls);
                        }
                    });
                    signer.signWithBaselineLTAProfile(properties, chain, key, stamp);
                }
            }
            return out.toByteArray();
        };
    }

    static Signer dss() throws Exception {
        var trusted = new CommonTrustedCertificateSource();
        trusted.addCertificate(DSSUtils.loadCertificate(new File(folder, "root.pem")));
        var verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(trusted);
        verifier.setAIASource(null);
        verifier.setOcspSource(null);
        verifier.setCrlSource(new ExternalResourcesCRLSource(Arrays.stream(crls).map(InMemoryDocument::new).toArray(InMemoryDocument[]::new)));
        var service = new PAdESService(verifier);
        service.setTspSource(new OnlineTSPSource(tsa, new TimestampDataLoader()));
        var token = new Pkcs12SignatureToken(new File(folder, "signer.p12"), new KeyStore.PasswordProtection(PASSWORD));
        DSSPrivateKeyEntry entry = token.getKeys().get(0);
        return (data, level) -> {
            var parameters = new PAdESSignatureParameters();
            parameters.setSignatureLevel(SignatureLevel.valueByName("PAdES-BASELINE-" + level.substring(2)));
            parameters.setSigningCertificate(entry.getCertificate());
            parameters.setCertificateChain(entry.getCertificateChain());
            parameters.bLevel().setSigningDate(new Date());
            parameters.setContentSize(20_000);
            var document = new InMemoryDocument(data);
            var value = token.sign(service.getDataToSign(document, parameters), parameters.getDigestAlgorithm(), entry);
            var out = new ByteArrayOutputStream(data.length + 65536);
            service.signDocument(document, parameters, value).writeTo(out);
            return out.toByteArray();
        };
    }

    static Signer pdfbox() throws Exception {
        var leaf = (X509Certificate) chain[0];
        var hash = java.security.MessageDigest.getInstance("SHA-256").digest(leaf.getEncoded());
        var named = new Attribute(PKCSObjectIdentifiers.id_aa_signingCertificateV2, new DERSet(new SigningCertificateV2(new ESSCertIDv2(hash))));
        return (data, level) -> {
            if (!level.equals("B-B")) throw new UnsupportedOperationException("no timestamps of its own");
            var out = new ByteArrayOutputStream(data.length + 65536);
            try (PDDocument document = Loader.loadPDF(data)) {
                var signature = new PDSignature();
                signature.setFilter(PDSignature.FILTER_ADOBE_PPKLITE);
                signature.setSubFilter(COSName.getPDFName("ETSI.CAdES.detached"));
                signature.setSignDate(Calendar.getInstance());
                document.addSignature(signature, content -> {
                    try {
                        var attributes = new ASN1EncodableVector();
                        attributes.add(named);
                        var generator = new CMSSignedDataGenerator();
                        var algorithm = key.getAlgorithm().equals("RSA") ? "SHA256withRSA" : "SHA256withECDSA";
                        generator.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().build())
                            .setSignedAttributeGenerator(new DefaultSignedAttributeTableGenerator(new AttributeTable(attributes)) {
                                @Override public AttributeTable getAttributes(java.util.Map parameters) {
                                    return super.getAttributes(parameters).remove(PKCSObjectIdentifiers.pkcs_9_at_signingTime);
                                }
                            }).build(new JcaContentSignerBuilder(algorithm).build(key), leaf));
                        generator.addCertificates(new JcaCertStore(Arrays.asList(chain)));
                        return generator.generate(new CMSProcessableByteArray(content.readAllBytes()), false).getEncoded();
                    } catch (Exception fault) {
                        throw new java.io.IOException(fault);
                    }
                });
                document.saveIncremental(out);
            }
            return out.toByteArray();
        };
    }

    public static void main(String[] given) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err); // what a library says of itself is no answer
        folder = given[0];
        tsa = given[1];
        Security.addProvider(new BouncyCastleProvider());
        var store = KeyStore.getInstance("PKCS12");
        try (var in = Files.newInputStream(Path.of(folder, "signer.p12"))) { store.load(in, PASSWORD); }
        var alias = store.aliases().nextElement();
        key = (PrivateKey) store.getKey(alias, PASSWORD);
        chain = store.getCertificateChain(alias);
        crls = new byte[][] {Files.readAllBytes(Path.of(folder, "issuing.crl")), Files.readAllBytes(Path.of(folder, "root.crl"))};
        var signers = new java.util.HashMap<String, Signer>();
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] order = line.split(" ", 6);
            try {
                if (!signers.containsKey(order[0])) signers.put(order[0], switch (order[0]) { case "itext" -> itext(); case "dss" -> dss(); default -> pdfbox(); });
                Signer signer = signers.get(order[0]);
                byte[] data = Files.readAllBytes(Path.of(order[4]));
                long warm = System.nanoTime() + (long) (Double.parseDouble(order[2]) * 1e9);
                byte[] signed = signer.sign(data, order[1]);
                while (System.nanoTime() < warm) signed = signer.sign(data, order[1]);
                int often = Integer.parseInt(order[3]);
                long before = system.getProcessCpuTime();
                for (int i = 0; i < often; i++) signed = signer.sign(data, order[1]);
                double spent = (system.getProcessCpuTime() - before) / 1e6 / often;
                Files.write(Path.of(order[5]), signed);
                answers.println(spent);
            } catch (Throwable fault) {
                answers.println("error " + fault.getClass().getSimpleName() + ": " + String.valueOf(fault.getMessage()).replace('\n', ' '));
            }
            answers.flush();
        }
    }
}
