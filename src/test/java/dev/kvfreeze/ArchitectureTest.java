package dev.kvfreeze;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaMethodCall;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import java.util.Set;

/** The import directions of the design, with no list of exceptions. */
@AnalyzeClasses(packages = "dev.kvfreeze", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
  private static final String ROOT = "dev.kvfreeze.";

  /** Arithmetic that has a twin in {@code lanewise}, which is compiled well on every JDK. */
  private static final Set<String> SLOW_VECTOR_CALLS = Set.of("add", "mul", "fma");

  @ArchTest static final ArchRule freezeImportsNothingOfOurs = importsOnly("freeze");

  @ArchTest static final ArchRule modelImportsNothingOfOurs = importsOnly("model");

  @ArchTest static final ArchRule deviceImportsModel = importsOnly("device", "model");

  @ArchTest
  static final ArchRule cacheImportsDeviceModelFreeze =
      importsOnly("cache", "device", "model", "freeze");

  @ArchTest
  static final ArchRule engineImportsAllBelow =
      importsOnly("engine", "cache", "device", "model", "freeze");

  @ArchTest
  static final ArchRule nothingImportsThePrograms =
      noClasses()
          .that(resideOutsideOfPackage(ROOT + "spark..").and(notIn("eval")).and(notIn("benchmark")))
          .should()
          .dependOnClassesThat(
              resideInAnyPackage(ROOT + "spark..", ROOT + "eval..", ROOT + "benchmark.."));

  @ArchTest
  static final ArchRule onlyTheEvaluationJobImportsEval =
      noClasses()
          .that()
          .resideInAPackage(ROOT + "spark..")
          .and()
          .resideOutsideOfPackage(ROOT + "spark.evaluation..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage(ROOT + "eval..");

  @ArchTest
  static final ArchRule evalKnowsNoSpark =
      noClasses()
          .that()
          .resideInAPackage(ROOT + "eval..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(ROOT + "spark..", "org.apache.spark..", "org.apache.hadoop..");

  @ArchTest
  static final ArchRule modulesHaveNoCycles =
      slices().matching("dev.kvfreeze.(*)..").should().beFreeOfCycles();

  @ArchTest
  static final ArchRule sparkStaysInSpark =
      onlyIn("spark", "org.apache.spark..", "scala..", "org.apache.hadoop..");

  @ArchTest
  static final ArchRule vectorsStayInTheCpuDevice = onlyIn("device.cpu", "jdk.incubator.vector..");

  @ArchTest static final ArchRule cudaStaysInItsDevice = onlyIn("device.cuda", "jcuda..");

  @ArchTest
  static final ArchRule vectorArithmeticIsLanewise =
      noClasses()
          .should()
          .callMethodWhere(
              describe(
                  "it is FloatVector's add, mul or fma (write lanewise)",
                  (JavaMethodCall call) ->
                      call.getTargetOwner().getName().equals("jdk.incubator.vector.FloatVector")
                          && SLOW_VECTOR_CALLS.contains(call.getName())));

  @ArchTest
  static final ArchRule vectorsAreNamedSo =
      classes()
          .that(
              describe(
                  "use the Vector API",
                  (JavaClass type) ->
                      type.getDirectDependenciesFromSelf().stream()
                          .anyMatch(
                              d ->
                                  d.getTargetClass()
                                      .getPackageName()
                                      .equals("jdk.incubator.vector"))))
          .should()
          .haveNameMatching(".*\\.Vector[^.]*")
          .because("a class that mentions vectors may not be loaded where the module is missing");

  @ArchTest
  static final ArchRule noMutableGlobals =
      fields()
          .that()
          .areStatic()
          .and()
          .areNotPrivate()
          .should()
          .beFinal()
          .because("configuration is passed, not set");

  private static ArchRule importsOnly(String module, String... below) {
    String[] allowed = new String[below.length + 1];
    allowed[0] = ROOT + module + "..";
    for (int i = 0; i < below.length; i++) {
      allowed[i + 1] = ROOT + below[i] + "..";
    }
    return noClasses()
        .that()
        .resideInAPackage(ROOT + module + "..")
        .should()
        .dependOnClassesThat(
            resideInAnyPackage("dev.kvfreeze..")
                .and(DescribedPredicate.not(resideInAnyPackage(allowed))))
        .as(module + " imports nothing of ours but " + String.join(", ", allowed));
  }

  private static ArchRule onlyIn(String module, String... packages) {
    return noClasses()
        .that()
        .resideOutsideOfPackage(ROOT + module + "..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(packages)
        .as(String.join(", ", packages) + " only in " + module);
  }

  private static DescribedPredicate<JavaClass> notIn(String module) {
    return resideOutsideOfPackage(ROOT + module + "..");
  }
}
