// Judges one PDF for each line of standard input by the part of PDF/A that the file itself claims; one JSON line each.
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.PDFAValidator;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

class VeraPdf {
    public static void main(String[] arguments) throws Exception {
        Logger.getLogger("").setLevel(Level.OFF);
        VeraGreenfieldFoundryProvider.initialise();
        var json = new ObjectMapper();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String path; (path = lines.readLine()) != null; ) {
            System.out.println(json.writeValueAsString(judged(path)));
            System.out.flush();
        }
    }

    private static Map<String, Object> judged(String path) {
        var said = new LinkedHashMap<String, Object>();
        try (PDFAParser parser = Foundries.defaultInstance().createParser(new File(path))) {
            if (parser.getFlavours().isEmpty()) {
                return said;
            }
            PDFAFlavour claimed = parser.getFlavours().get(0);
            said.put("claims", claimed.getId());
            try (PDFAValidator validator = Foundries.defaultInstance().createValidator(claimed, false)) {
                ValidationResult result = validator.validate(parser);
                var broken = new TreeSet<String>();
                for (TestAssertion one : result.getTestAssertions()) {
                    if (one.getStatus() == TestAssertion.Status.FAILED) {
                        broken.add(one.getRuleId().getClause() + " test " + one.getRuleId().getTestNumber() + ": "
                                + one.getMessage());
                    }
                }
                if (!result.isCompliant() && broken.isEmpty()) {
                    broken.add("not compliant, without a rule");
                }
                said.put("broken", broken);
            }
        } catch (Exception fault) {
            said.put("error", fault.toString());
        }
        return said;
    }
}
