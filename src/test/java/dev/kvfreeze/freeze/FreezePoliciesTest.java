package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What holds for every policy of the registry, and the registry itself. */
class FreezePoliciesTest {
  private static final CacheShape SHAPE = new CacheShape(2, 2, 16, 4096, 10);

  static Stream<String> names() {
    return FreezePolicies.names().stream();
  }

  @ParameterizedTest
  @MethodSource("names")
  void isKnownByItsNameAndMakesFreshHeads(String name) {
    FreezePolicy policy = FreezePolicies.create(name, PolicyOptions.defaults(name));
    assertThat(policy.name()).isEqualTo(name);
    assertThat(FreezePolicies.create(name, PolicyOptions.defaults(name))).isNotSameAs(policy);
    if (policy.mayFreeze()) {
      assertThat(policy.sequence(SHAPE)).isNotSameAs(policy.sequence(SHAPE));
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void keepsSinksRecentTokensAndItsPromisedPeak(String name) {
    for (int pageTokens : List.of(1, 7, 16)) {
      for (int chunk : List.of(1, 54, 97)) {
        PolicyOptions options = new PolicyOptions(pageTokens, 5, 33, 1, 64, 0.5);
        FreezePolicy policy = FreezePolicies.create(name, options);
        CacheShape shape = new CacheShape(1, 1, pageTokens, 256 * pageTokens, 10);
        SequencePolicy head = policy.sequence(shape);
        TableHead table = new TableHead(pageTokens);
        int peak = 0;
        for (int read = 0; read < 400; ) {
          int tokens = read < 300 ? Math.min(chunk, 300 - read) : 1;
          for (int i = 0; i < tokens; i++) {
            table.append();
          }
          read += tokens;
          peak = Math.max(peak, table.activeTokens());
          StepKind kind =
              read < 300 ? StepKind.PREFILL : read == 300 ? StepKind.QUESTION : StepKind.DECODE;
          head.observe(0, kind, table);
          head.balance(kind, table);
          head.step(0, kind, table, table);
          for (int token = 0; token < read; token++) {
            if (token < 5 || token >= read - 33) {
              assertThat(table.active(token / pageTokens)).isTrue();
            }
          }
        }
        ExpectedLengths lengths = new ExpectedLengths(300, 100, chunk);
        // What streams passes through the cache, which this table does not do.
        if (!head.streams(300)) {
          assertThat(peak).isLessThanOrEqualTo(policy.peakActiveTokens(lengths, shape));
        }
        assertThat(policy.peakActiveTokens(lengths, shape)).isLessThanOrEqualTo(400 + pageTokens);
        if (!policy.mayFreeze()) {
          assertThat(table.freezes).isZero();
        }
      }
    }
  }

  @Test
  void windowNeverThawsAndTriesARefusedPageAgain() {
    HeadPolicy head = new WindowPolicy(new PolicyOptions(1, 2, 3, 0.5, 64, 1)).head(SHAPE);
    TableHead table = new TableHead(1);
    table.refuseFreeze = true;
    for (int i = 0; i < 9; i++) {
      table.append();
      head.step(i < 5 ? StepKind.PREFILL : StepKind.DECODE, table, table);
    }
    assertThat(table.freezes).isZero();
    table.refuseFreeze = false;
    head.step(StepKind.DECODE, table, table);
    assertThat(table.activePageNumbers()).containsExactly(0, 1, 6, 7, 8);
    assertThat(table.thaws).isZero();
    table.truncate(8);
    head.truncate(8);
    for (int i = 0; i < 4; i++) {
      table.append();
    }
    head.step(StepKind.DECODE, table, table);
    assertThat(table.activePageNumbers()).containsExactly(0, 1, 9, 10, 11);
  }

  @ParameterizedTest
  @CsvSource({"papper, paper", "Window, window", "ful, full", "'', h2o"})
  void refusesAnUnknownNameWithTheNearest(String name, String nearest) {
    assertThatThrownBy(() -> FreezePolicies.create(name, PolicyOptions.defaults()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'" + name + "'")
        .hasMessageContaining("did you mean '" + nearest + "'")
        .hasMessageContaining(String.join(", ", FreezePolicies.names()));
  }

  @Test
  void namesCannotBeChanged() {
    Set<String> names = FreezePolicies.names();
    assertThatThrownBy(() -> names.remove("full"))
        .isInstanceOf(UnsupportedOperationException.class);
  }

  @Test
  void thePapersUnitIsAToken() {
    assertThat(PolicyOptions.defaults("paper").pageTokens()).isEqualTo(1);
    assertThat(PolicyOptions.defaults("window")).isEqualTo(PolicyOptions.defaults());
  }

  @ParameterizedTest
  @CsvSource({
    "0, 4, 32, 0.5, 64, 1, page tokens",
    "1025, 4, 32, 0.5, 64, 1, page tokens",
    "16, -1, 32, 0.5, 64, 1, sink tokens",
    "16, 4, 0, 0.5, 64, 1, recent tokens",
    "16, 4, 32, -0.1, 64, 1, threshold",
    "16, 4, 32, NaN, 64, 1, threshold",
    "16, 4, 32, Infinity, 64, 1, threshold",
    "16, 4, 32, 0.5, 0, 1, history steps",
    "16, 4, 32, 0.5, 32769, 1, history steps",
    "16, 4, 32, 0.5, 64, 0, softness",
    "16, 4, 32, 0.5, 64, NaN, softness",
  })
  void optionsNameWhatIsWrong(
      int page, int sinks, int recent, double tau, int history, double softness, String name) {
    assertThatThrownBy(() -> new PolicyOptions(page, sinks, recent, tau, history, softness))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(name)
        .hasMessageContaining("it must be");
  }
}
