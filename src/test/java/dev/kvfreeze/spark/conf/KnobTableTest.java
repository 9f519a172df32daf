package dev.kvfreeze.spark.conf;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** The table in {@code conf/README.md} is the registry's; -Dkvfreeze.update=true writes it. */
class KnobTableTest {
  private static final Path README = Path.of("conf/README.md");
  private static final String BEGIN = "<!-- knobs: written by KnobTableTest -->\n";
  private static final String END = "<!-- end of knobs -->";

  @Test
  void theReadmeHasTheTableOfTheRegistry() throws IOException {
    String readme = Files.readString(README);
    int begin = readme.indexOf(BEGIN) + BEGIN.length();
    int end = readme.indexOf(END);
    if (Boolean.getBoolean("kvfreeze.update")) {
      Files.writeString(
          README, readme.substring(0, begin) + KnobTable.markdown() + readme.substring(end));
      return;
    }
    assertThat(readme.substring(begin, end))
        .as("update with: mvn test -Dtest=KnobTableTest -Dkvfreeze.update=true")
        .isEqualTo(KnobTable.markdown());
  }

  @Test
  void everyDefaultIsAllowed() {
    for (Knob<?> knob : Knobs.all()) {
      assertThat(knob.parse(knob.defaultText(), "its default")).as(knob.key()).isNotNull();
    }
  }
}
