package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.SketchCalibration;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.device.cpu.Precision;
import dev.kvfreeze.device.cuda.CudaDevice;
import dev.kvfreeze.device.cuda.HostDriver;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.Rope;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class KeyCalibratorTest {
  private static final FreezePolicy ADAPTIVE =
      FreezePolicies.create("adaptive", PolicyOptions.defaults());

  @Test
  void everyHeadOfTheRealModelsHasItsChannels() {
    try (LanguageModel smolLm2 = RealModels.smolLm2();
        LanguageModel gemma3 = RealModels.gemma3()) {
      for (LanguageModel model : new LanguageModel[] {smolLm2, gemma3}) {
        SketchCalibration calibration = calibrate(model, 128, ADAPTIVE);
        ModelSpec spec = model.spec();
        SketchChannels[] channels = calibration.channels(1);
        assertThat(channels).hasSize(spec.layers().size() * spec.kvHeads());
        for (int i = 0; i < channels.length; i++) {
          assertThat(channels[i].codes()).isEqualTo(spec.headSize() / 2);
          assertPairsAlike(
              calibration.keyVariances()[i], spec.layers().get(i / spec.kvHeads()).rope());
        }
      }
    }
  }

  /** What makes few bits enough: the gain of the best half of the dimensions. */
  @Test
  void mostOfWhatScoresDependOnLiesInFewDimensions() {
    try (LanguageModel model = RealModels.smolLm2()) {
      SketchCalibration calibration = calibrate(model, 256, ADAPTIVE);
      double share = 0;
      int heads = calibration.keyVariances().length;
      for (int i = 0; i < heads; i++) {
        float[] gains = new float[model.spec().headSize()];
        for (int d = 0; d < gains.length; d++) {
          gains[d] = calibration.keyVariances()[i][d] * calibration.queryEnergies()[i][d];
        }
        Arrays.sort(gains);
        double all = 0;
        double best = 0;
        for (int d = 0; d < gains.length; d++) {
          all += gains[d];
          best += d < gains.length / 2 ? 0 : gains[d];
        }
        share += best / all / heads;
      }
      assertThat(share).isGreaterThan(0.8);
    }
  }

  @Test
  void theChunkDoesNotMatterNorTheSecondTime() {
    try (LanguageModel model = RealModels.smolLm2()) {
      SketchCalibration once = calibrate(model, 256, ADAPTIVE);
      for (int chunk : new int[] {256, 48}) {
        SketchCalibration again = calibrate(model, chunk, ADAPTIVE);
        for (int i = 0; i < once.keyVariances().length; i++) {
          assertThat(again.keyVariances()[i]).containsExactly(once.keyVariances()[i]);
          assertThat(again.queryEnergies()[i]).containsExactly(once.queryEnergies()[i]);
        }
      }
    }
  }

  @Test
  void theGpuFindsWhatTheCpuFinds() {
    try (LanguageModel smolLm2 = RealModels.smolLm2();
        LanguageModel gemma3 = RealModels.gemma3()) {
      for (LanguageModel model : new LanguageModel[] {smolLm2, gemma3}) {
        SketchCalibration cpu = calibrate(model, 128, ADAPTIVE);
        CudaDevice device = HostDriver.device(1L << 30, HostCode.PLAIN);
        SketchCalibration gpu = calibrate(model, device, 128, ADAPTIVE);
        for (int i = 0; i < cpu.keyVariances().length; i++) {
          assertAlike(gpu.keyVariances()[i], cpu.keyVariances()[i]);
          assertAlike(gpu.queryEnergies()[i], cpu.queryEnergies()[i]);
        }
      }
    }
  }

  /** Both round their activations, in other ways. */
  private static void assertAlike(float[] found, float[] expected) {
    for (int d = 0; d < expected.length; d++) {
      assertThat(found[d]).isCloseTo(expected[d], withinPercentage(5));
    }
  }

  @Test
  void policiesWithoutSketchesReadNothing() {
    try (LanguageModel model = RealModels.smolLm2()) {
      FreezePolicy full = FreezePolicies.create("full", PolicyOptions.defaults());
      assertThat(calibrate(model, 64, full).isNone()).isTrue();
    }
  }

  /** Powers of two change no bit of a score, whatever the model's rotary embedding pairs. */
  @Test
  void smoothedKeysOfFloat32GiveTheSameLogits() {
    FreezePolicy full = FreezePolicies.create("full", PolicyOptions.defaults());
    try (LanguageModel smolLm2 = RealModels.smolLm2();
        LanguageModel gemma3 = RealModels.gemma3()) {
      for (LanguageModel model : new LanguageModel[] {smolLm2, gemma3}) {
        int[] tokens = RealModels.textTokens(model, 0, 100);
        float[][] logits = new float[2][];
        for (int i = 0; i < 2; i++) {
          KvFormat smoothedAs = i == 0 ? KvFormat.F32 : KvFormat.INT8;
          Device device = CpuDevice.open(2, Precision.FLOAT32);
          try (ForwardHarness harness =
              new ForwardHarness(model, device, KvFormat.F32, smoothedAs, 16, full)) {
            logits[i] = harness.lastLogits(tokens);
          }
        }
        assertThat(logits[1]).containsExactly(logits[0]);
      }
    }
  }

  @Test
  void onlyKeysOf8BitsAreSmoothed() {
    FreezePolicy full = FreezePolicies.create("full", PolicyOptions.defaults());
    try (LanguageModel model = RealModels.smolLm2();
        Device device = CpuDevice.open(2)) {
      Transformer transformer = new Transformer(model, device, null, 64, 1);
      for (KvFormat format : KvFormat.values()) {
        KeyCalibration found = KeyCalibrator.calibrate(model, device, transformer, full, format);
        assertThat(found.smoothing().isNone()).isEqualTo(format != KvFormat.INT8);
        assertThat(found.sketches().isNone()).isTrue();
      }
    }
  }

  private static SketchCalibration calibrate(LanguageModel model, int chunk, FreezePolicy policy) {
    return calibrate(model, CpuDevice.open(2), chunk, policy);
  }

  /** On a device, which it closes. */
  private static SketchCalibration calibrate(
      LanguageModel model, Device device, int chunk, FreezePolicy policy) {
    try (device) {
      Transformer transformer = new Transformer(model, device, null, chunk, 1);
      return KeyCalibrator.calibrate(model, device, transformer, policy, KvFormat.BF16).sketches();
    }
  }

  private static void assertPairsAlike(float[] x, Rope rope) {
    for (int pair = 0; pair < rope.pairs(); pair++) {
      float one = x[rope.first(pair)];
      float other = x[rope.second(pair)];
      assertThat(one).isEqualTo(other).isNotNegative().isFinite();
    }
  }
}
