package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.engine.PolicySetup;
import dev.kvfreeze.eval.NamedSetup;
import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.FreezeCap;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.PolicySettings;
import dev.kvfreeze.spark.conf.Settings;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The policies under evaluation, ready for a length. */
final class EvaluationSetups {
  private static final String WINDOW = "window";

  private EvaluationSetups() {}

  /**
   * @param settings of each policy by its label, in order
   */
  static List<NamedSetup> of(Map<String, Settings> settings, ModelSpec spec, int length) {
    List<NamedSetup> setups = new ArrayList<>();
    settings.forEach(
        (label, own) -> {
          PolicyOptions options = PolicySettings.options(own);
          String policy = own.value(Knobs.POLICY);
          int page = options.pageTokens();
          KvFormat format = own.value(Knobs.CACHE_FORMAT);
          if (policy.equals(WINDOW)) {
            options = widened(options, spec, page, format, length);
          }
          setups.add(
              new NamedSetup(
                  label, new PolicySetup(FreezePolicies.create(policy, options), format, page)));
        });
    return setups;
  }

  /** The window has no cap of its own: it gets as many recent tokens as the cap allows. */
  private static PolicyOptions widened(
      PolicyOptions options, ModelSpec spec, int page, KvFormat format, int length) {
    FreezeCap cap = options.adaptive().cap();
    PageLayout layout = new PageLayout(spec.headSize(), page, format);
    CacheShape shape =
        new CacheShape(
            spec.layers().size(),
            spec.kvHeads(),
            page,
            layout.pageBytes(),
            0,
            layout.comparedPageBytes());
    int recent =
        (int)
            Math.max(
                options.adaptive().leastTokens(),
                cap.activeTokens(length, shape) - options.sinkTokens() - 2 * page);
    return new PolicyOptions(
        page,
        options.sinkTokens(),
        Math.max(1, recent),
        options.threshold(),
        options.historySteps(),
        options.softness(),
        options.adaptive(),
        options.guard());
  }
}
