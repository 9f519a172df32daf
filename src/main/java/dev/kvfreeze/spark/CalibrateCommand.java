package dev.kvfreeze.spark;

import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.PolicyKnobs;
import dev.kvfreeze.spark.evaluation.GuardCalibration;
import dev.kvfreeze.spark.job.Console;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Finds the entropy guard's threshold for a model. */
@Command(
    name = "calibrate",
    description =
        "Generates over documents with the full cache and writes a policy file whose entropy guard"
            + " takes this model's own percentile as its threshold.",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    footer = ExitCodes.TEXT)
final class CalibrateCommand implements Callable<Integer> {
  @Mixin private InferenceOptions options;

  @Option(
      names = "--percentile",
      defaultValue = "99",
      paramLabel = "P",
      description = "Entropies above this percentile are spikes. Default: ${DEFAULT-VALUE}.")
  private double percentile;

  @Option(
      names = "--write",
      required = true,
      paramLabel = "FILE",
      description = "The policy file to write, for example conf/policies/adaptive-smollm2.conf.")
  private String file;

  @Override
  public Integer call() throws Exception {
    GuardCalibration calibration = new GuardCalibration(percentile, file);
    int code =
        options.run(
            "calibrate",
            Map.of(
                Knobs.STEP_INTERVAL.name(), "1",
                Knobs.POLICY.name(), "full",
                PolicyKnobs.GUARD.name(), "off"),
            Map.of(Knobs.REPETITION_PENALTY.name(), "1.05"));
    if (code != 0) {
      return code;
    }
    calibration.write(
        options.output(), options.policyOrDefault(), new Console(System.err, System.out));
    return 0;
  }
}
