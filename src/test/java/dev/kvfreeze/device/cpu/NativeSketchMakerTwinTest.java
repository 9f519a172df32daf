package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.model.Rope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Sketches made in C against those made in Java, over the vector and the scalar kernels. */
@Tag("native-kernels")
class NativeSketchMakerTwinTest {
  private static final int PAGES = 37;

  @BeforeAll
  static void nativeKernelsAreThere() {
    NativeKernelAssumptions.assume();
  }

  @ParameterizedTest
  @CsvSource({
    "64, 16, 0, HALF_SPLIT", "64, 16, 64, HALF_SPLIT", "64, 16, 64, INTERLEAVED",
    "64, 16, 32, INTERLEAVED", "80, 16, 40, HALF_SPLIT", "80, 7, 0, HALF_SPLIT",
    "96, 24, 96, HALF_SPLIT", "128, 1, 128, INTERLEAVED", "128, 32, 64, HALF_SPLIT",
    "256, 16, 256, HALF_SPLIT", "256, 17, 256, HALF_SPLIT", "6, 5, 4, INTERLEAVED",
    "64, 64, 64, HALF_SPLIT", "40, 100, 40, HALF_SPLIT"
  })
  void codesAndStepsAreTheJavaMakers(
      int headSize, int pageTokens, int turned, Rope.Pairing pairing) {
    Rope rope = turned == 0 ? null : rope(turned, pairing);
    for (KvFormat format : formats(headSize)) {
      for (int planes = 1; planes <= 2; planes++) {
        PageLayout layout = new PageLayout(headSize, pageTokens, format);
        CpuPageMemory memory = randomKeys(layout);
        KeySketches vector = sketches(memory, planes, rope, new VectorAttentionKernels(), false);
        KeySketches scalar = sketches(memory, planes, rope, new ScalarAttentionKernels(), false);
        KeySketches made = sketches(memory, planes, rope, new VectorAttentionKernels(), true);
        assertThat(made.pages).isEqualTo(PAGES);
        assertThat(made.centre).containsExactly(vector.centre);
        assertThat(made.bits).containsExactly(vector.bits);
        assertThat(made.steps).containsExactly(vector.steps);
        assertNear(made, scalar, planes);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "64, 16, 0, HALF_SPLIT", "64, 16, 64, HALF_SPLIT", "64, 16, 32, INTERLEAVED",
    "80, 7, 40, HALF_SPLIT", "96, 24, 96, HALF_SPLIT", "128, 1, 128, INTERLEAVED",
    "256, 17, 256, HALF_SPLIT", "6, 5, 4, INTERLEAVED", "40, 100, 40, HALF_SPLIT"
  })
  void codesOfChannelsAreTheJavaMakers(
      int headSize, int pageTokens, int turned, Rope.Pairing pairing) {
    Rope rope = turned == 0 ? null : rope(turned, pairing);
    for (KvFormat format : formats(headSize)) {
      for (int bits = 1; bits <= 2; bits++) {
        CpuPageMemory memory = randomKeys(new PageLayout(headSize, pageTokens, format));
        SketchChannels channels = ChannelFixtures.channels(headSize, bits, bits);
        KeySketches java = sketches(memory, channels, rope, NativeLevel.NONE);
        KeySketches made = sketches(memory, channels, rope, NativeLibrary.level());
        assertThat(made.centre).containsExactly(java.centre);
        assertThat(made.bits).containsExactly(java.bits);
        assertThat(made.steps).containsExactly(java.steps);
      }
    }
  }

  @Test
  void channelsOfHugeAndBrokenKeysAreSketchedAlike() {
    PageLayout layout = new PageLayout(64, 16, KvFormat.F32);
    CpuPageMemory memory = new CpuPageMemory(layout, (long) PAGES * layout.pageBytes());
    memory.ensure(PAGES);
    int[] words = new int[layout.wordsPerPage()];
    float[] values = {
      0, Float.MAX_VALUE, 1e30f, -1e30f, 1e-40f, Float.NEGATIVE_INFINITY, Float.NaN
    };
    for (int page = 0; page < values.length; page++) {
      Arrays.fill(words, Float.floatToRawIntBits(values[page]));
      memory.write(page, words, 0);
    }
    SketchChannels channels = ChannelFixtures.channels(64, 5);
    KeySketches java = sketches(memory, channels, null, NativeLevel.NONE);
    KeySketches made = sketches(memory, channels, null, NativeLibrary.level());
    assertThat(made.bits).containsExactly(java.bits);
    assertThat(made.steps).containsExactly(java.steps);
  }

  private static KeySketches sketches(
      CpuPageMemory memory, SketchChannels channels, Rope rope, NativeLevel level) {
    KeySketches sketches = new KeySketches(memory.layout().pageTokens(), channels, rope);
    return sketched(memory, sketches, new VectorAttentionKernels(), level);
  }

  /** Nothing beside the page's own tokens is written: they are sketched in any order. */
  @Test
  void pagesAreSketchedOneByOneInAnyOrder() {
    PageLayout layout = new PageLayout(64, 10, KvFormat.BF16);
    CpuPageMemory memory = randomKeys(layout);
    Rope rope = rope(64, Rope.Pairing.HALF_SPLIT);
    KeySketches expected = sketches(memory, 2, rope, new VectorAttentionKernels(), true);
    KeySketches found = new KeySketches(64, 10, 2, rope);
    found.ensure(PAGES);
    found.centre = expected.centre;
    try (WorkerPool pool = new WorkerPool(1)) {
      SketchMaker maker =
          new SketchMaker(pool, new VectorAttentionKernels(), NativeLibrary.level());
      for (int page = PAGES - 1; page >= 0; page--) {
        maker.sketch(memory, List.of(new SketchedPage(found, page, page)));
      }
    }
    assertThat(found.bits).containsExactly(expected.bits);
    assertThat(found.steps).containsExactly(expected.steps);
  }

  @Test
  void keysOfTheCentreAndHugeKeysAreSketchedAlike() {
    PageLayout layout = new PageLayout(64, 16, KvFormat.F32);
    CpuPageMemory memory = new CpuPageMemory(layout, (long) PAGES * layout.pageBytes());
    memory.ensure(PAGES);
    int[] words = new int[layout.wordsPerPage()];
    float[] values = {0, Float.MAX_VALUE, 1e30f, -1e30f, 1e-40f};
    for (int page = 0; page < values.length; page++) {
      Arrays.fill(words, Float.floatToRawIntBits(values[page]));
      memory.write(page, words, 0);
    }
    for (int planes = 1; planes <= 2; planes++) {
      KeySketches java = sketches(memory, planes, null, new VectorAttentionKernels(), false);
      KeySketches made = sketches(memory, planes, null, new VectorAttentionKernels(), true);
      assertThat(made.bits).containsExactly(java.bits);
      assertThat(made.steps).containsExactly(java.steps);
    }
  }

  /** Codes differ at borders only, steps by the rounding to bfloat16 and such a code. */
  private static void assertNear(KeySketches made, KeySketches scalar, int planes) {
    int tokens = PAGES * made.pageTokens();
    int different = 0;
    for (int t = 0; t < tokens; t++) {
      for (int d = 0; d < made.headSize(); d++) {
        int apart = Math.abs(made.code(t, d) - scalar.code(t, d));
        assertThat(apart).isLessThanOrEqualTo(1);
        different += apart;
      }
      float step = Bfloat16.low(made.steps[t]);
      float other = Bfloat16.low(scalar.steps[t]);
      assertThat(Math.abs(step - other))
          .as("token %d of %d planes", t, planes)
          .isLessThanOrEqualTo(0.01f * Math.abs(other));
    }
    assertThat(different).isLessThanOrEqualTo(tokens * made.headSize() / 1000);
  }

  private static KeySketches sketches(
      CpuPageMemory memory, int planes, Rope rope, AttentionKernels kernels, boolean inC) {
    PageLayout layout = memory.layout();
    NativeLevel level = inC ? NativeLibrary.level() : NativeLevel.NONE;
    return sketched(
        memory,
        new KeySketches(layout.headSize(), layout.pageTokens(), planes, rope),
        kernels,
        level);
  }

  private static KeySketches sketched(
      CpuPageMemory memory, KeySketches sketches, AttentionKernels kernels, NativeLevel level) {
    sketches.ensure(PAGES);
    List<SketchedPage> pages = new ArrayList<>();
    for (int page = 0; page < PAGES; page++) {
      pages.add(new SketchedPage(sketches, page, page));
    }
    try (WorkerPool pool = new WorkerPool(2)) {
      new SketchMaker(pool, kernels, level).sketch(memory, pages);
    }
    return sketches;
  }

  private static CpuPageMemory randomKeys(PageLayout layout) {
    Random random = new Random(layout.headSize() + layout.pageTokens());
    CpuPageMemory memory = new CpuPageMemory(layout, (long) PAGES * layout.pageBytes());
    memory.ensure(PAGES);
    int[] words = new int[layout.wordsPerPage()];
    for (int page = 0; page < PAGES; page++) {
      for (int i = 0; i < words.length; i++) {
        float low = (float) random.nextGaussian() + (i % 3 == 0 ? 2 : 0);
        float high = (float) random.nextGaussian();
        words[i] =
            layout.format() == KvFormat.F32
                ? Float.floatToRawIntBits(low)
                : Bfloat16.bits(low) & 0xffff | Bfloat16.bits(high) << 16;
      }
      memory.write(page, words, 0);
    }
    return memory;
  }

  private static List<KvFormat> formats(int headSize) {
    return Stream.of(KvFormat.values())
        .filter(format -> headSize % format.valuesPerWord() == 0)
        .toList();
  }

  private static Rope rope(int turned, Rope.Pairing pairing) {
    float[] frequencies = new float[turned / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) Math.pow(10_000, -2.0 * i / turned);
    }
    return new Rope(frequencies, pairing);
  }
}
