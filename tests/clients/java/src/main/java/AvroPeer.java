import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaCompatibility.SchemaCompatibilityType;
import org.apache.avro.SchemaCompatibility.SchemaPairCompatibility;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;

/**
 * Contradicts the lines of `cargo xtask agreement avro`: the reference for every verdict.
 *
 * Each pair: the same verdict and the same differences as SchemaCompatibility; every record of a
 * compatible pair is read under the new schema; every witness is valid under the old schema and
 * refused or read as the line says under the new one, and so is that of every caveat about what
 * the verdict misses; where no record is said to break, none of the pair's records does.
 */
public final class AvroPeer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final List<String> COUNTEREXAMPLES = new ArrayList<>();
  private static final Map<String, Integer> COUNTS = new TreeMap<>();

  /** The reader remembers every pair of schemas it resolved for as long as its thread lives. */
  private static final int PAIRS_A_THREAD = 1_000;

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    boolean isEnd = false;
    while (!isEnd) {
      List<JsonNode> pairs = new ArrayList<>();
      while (pairs.size() < PAIRS_A_THREAD && !isEnd) {
        String line = lines.readLine();
        isEnd = line == null;
        if (line != null) {
          pairs.add(JSON.readTree(line));
        }
      }
      Thread thread = new Thread(() -> pairs.forEach(AvroPeer::tryCheck));
      thread.start();
      thread.join();
    }
    for (String counterexample : COUNTEREXAMPLES.subList(0, Math.min(10, COUNTEREXAMPLES.size()))) {
      System.out.println(counterexample);
    }
    System.out.println("Apache Avro Java: " + COUNTS + ", counter-examples " + COUNTEREXAMPLES.size());
    if (!COUNTEREXAMPLES.isEmpty() || !COUNTS.containsKey("pairs")) {
      System.exit(1);
    }
  }

  private static void tryCheck(JsonNode pair) {
    try {
      check(pair);
    } catch (Exception | Error error) {
      // An error would end the thread, and the pairs behind it would pass unseen.
      fail(pair, "the reference fails: " + error);
    }
  }

  private static void check(JsonNode pair) throws Exception {
    count("pairs");
    if (!pair.get("errors").isEmpty()) {
      fail(pair, "generator: " + pair.get("errors"));
      return;
    }
    Schema written = new Schema.Parser().parse(pair.get("old").asText());
    Schema read = new Schema.Parser().parse(pair.get("new").asText());
    boolean isCompatible = pair.get("compatible").asBoolean();
    checkVerdict(pair, written, read, isCompatible);
    boolean isRead = isCompatible || isConvention(pair);
    for (JsonNode record : pair.get("records")) {
      count("records");
      byte[] payload = HexFormat.of().parseHex(record.get("payload").asText());
      decode(written, written, payload);
      if (!isRead) {
        continue;
      }
      try {
        decode(written, read, payload);
      } catch (Exception error) {
        String known = isMissed(pair) ? "a caveat says so" : knownRefusal(error);
        if (known == null) {
          fail(pair, "nothing is said to break, but " + record + " is refused: " + error);
        } else {
          count("known: " + known);
        }
      }
    }
    for (JsonNode witness : pair.get("witnesses")) {
      checkWitness(pair, witness, written, read);
    }
    for (JsonNode caveat : pair.get("caveats")) {
      count("caveats, " + caveat.get("effect").asText() + " " + caveat.get("kind").asText());
      if (caveat.get("effect").asText().equals("missed")) {
        checkWitness(pair, caveat, written, read);
      }
    }
  }

  /** Whether a caveat of the pair says that the comparison misses what the reader refuses. */
  private static boolean isMissed(JsonNode pair) {
    for (JsonNode caveat : pair.get("caveats")) {
      if (caveat.get("effect").asText().equals("missed")) {
        return true;
      }
    }
    return false;
  }

  /** Whether every difference of the pair is said to break no record. */
  private static boolean isConvention(JsonNode pair) {
    for (JsonNode witness : pair.get("witnesses")) {
      if (!witness.get("label").asText().equals("convention")) {
        return false;
      }
    }
    return true;
  }

  private static void checkVerdict(JsonNode pair, Schema written, Schema read, boolean isCompatible) {
    List<String> expected = new ArrayList<>();
    try {
      SchemaPairCompatibility verdict =
          SchemaCompatibility.checkReaderWriterCompatibility(read, written);
      verdict
          .getResult()
          .getIncompatibilities()
          .forEach(i -> expected.add(i.getType() + "@" + i.getLocation()));
      if (isCompatible != (verdict.getType() == SchemaCompatibilityType.COMPATIBLE)) {
        fail(pair, "the reference says " + verdict.getType());
        return;
      }
    } catch (RuntimeException error) {
      expected.add("UNEXPECTED_EXCEPTION@/");
    }
    List<String> found = new ArrayList<>();
    pair.get("witnesses")
        .forEach(w -> found.add(w.get("kind").asText() + "@" + w.get("path").asText()));
    if (!found.equals(expected)) {
      fail(pair, "differences: ours " + found + ", the reference's " + expected);
    }
  }

  private static void checkWitness(JsonNode pair, JsonNode witness, Schema written, Schema read) {
    String label = witness.get("label").asText();
    count("witnesses, " + label);
    if (label.equals("not-found")) {
      fail(pair, "no witness: " + witness);
    }
    if (!label.equals("breaks")) {
      return;
    }
    byte[] payload = HexFormat.of().parseHex(witness.get("payload").asText());
    try {
      decode(written, written, payload);
    } catch (Exception error) {
      fail(pair, "witness is not valid under the old schema: " + witness + ": " + error);
      return;
    }
    boolean isRefused = witness.get("outcome").has("refused");
    Object value;
    try {
      value = decode(written, read, payload);
    } catch (Exception error) {
      if (!isRefused) {
        fail(pair, "witness is said to be misread and is refused: " + witness + ": " + error);
      }
      return;
    }
    if (isRefused) {
      fail(pair, "witness is read: " + witness + " as " + value);
    }
  }

  /** Decodes the whole payload. */
  private static Object decode(Schema written, Schema read, byte[] payload) throws Exception {
    BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(payload, null);
    // Its own: the shared one remembers defaults, and with them their schemas, for ever.
    GenericData data = new GenericData();
    Object value = new GenericDatumReader<>(written, read, data).read(null, decoder);
    if (!decoder.isEnd()) {
      throw new IllegalStateException("bytes are left");
    }
    return value;
  }

  /** Why the reference refuses what its own compatibility check lets pass; null when it should not. */
  private static String knownRefusal(Exception error) {
    String message = String.valueOf(error.getMessage());
    // Since 1.12.2 a block is refused when its bytes cannot hold the items of the reader's type,
    // though they are of the writer's: longs read as doubles, for one.
    if (message.startsWith("Collection claims")) {
      return "blocks are measured with the reader's item type";
    }
    // A field renamed by the reader's alias leaves the writer's defaults with the old name in
    // them, and they are checked again.
    if (message.startsWith("Invalid default for field")) {
      return "aliases do not reach into the writer's defaults";
    }
    return null;
  }

  private static void fail(JsonNode pair, String reason) {
    COUNTEREXAMPLES.add(
        "seed " + pair.get("seed") + ": " + reason + "\n  old " + pair.get("old").asText()
            + "\n  new " + pair.get("new").asText());
  }

  private static void count(String what) {
    COUNTS.merge(what, 1, Integer::sum);
  }
}
