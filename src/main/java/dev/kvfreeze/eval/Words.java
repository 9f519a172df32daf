package dev.kvfreeze.eval;

import java.util.Random;

/** Adjectives and nouns for made-up names such as {@code gentle-harbor}. */
final class Words {
  private static final String[] ADJECTIVES =
      ("able acid amber ancient arctic autumn bitter blue bold brave brief bright broad bronze calm"
              + " careful cheerful clean clever cold copper coral crimson curious daring deep distant"
              + " dusty eager early earnest eastern elder electric empty famous fancy fierce fine"
              + " foggy formal fragile frozen gentle giant glad golden graceful grand green happy"
              + " hasty hidden hollow honest humble icy idle inner iron ivory jolly keen kind late"
              + " lazy light little lively lonely loud loyal lucky marble mellow merry mighty misty"
              + " modern narrow neat noble northern odd open pale patient plain polite proud purple"
              + " quick quiet rapid rare rich rough royal rusty salty scarlet secret sharp shiny"
              + " silent silver simple sleepy small smooth solid southern spare stark steady still"
              + " strange sunny swift tall tame tender thin tidy tiny vast velvet violet vivid warm"
              + " western white wild windy wise young zealous")
          .split(" ");
  private static final String[] NOUNS =
      ("acorn anchor anvil apple arrow badge bakery banner barrel basket beacon bell bicycle blanket"
              + " boat bottle bridge bucket button cabin camera candle canyon carpet castle cellar"
              + " chapel cherry circle clock cloud coast comet compass corner cottage cradle crystal"
              + " curtain desert dolphin drum eagle engine falcon farm feather fence ferry field"
              + " flame forest fountain garden gate glacier glove grove hammer harbor hill horizon"
              + " hotel island jacket jewel journal kettle kitchen ladder lagoon lantern library"
              + " lighthouse lobster magnet market meadow mirror monument mountain museum needle"
              + " orchard otter oven palace parade path pencil piano pillow planet pocket pond"
              + " prairie pulley puzzle quarry rabbit railway rainbow ribbon river rocket saddle"
              + " sailor scholar shadow shelter signal sparrow spring stable station stone storm"
              + " summit table teapot temple theater thunder ticket tower trumpet tunnel turtle"
              + " umbrella valley village violin wagon walnut window winter wizard yard")
          .split(" ");

  private Words() {}

  static String adjective(Random random) {
    return ADJECTIVES[random.nextInt(ADJECTIVES.length)];
  }

  static String noun(Random random) {
    return NOUNS[random.nextInt(NOUNS.length)];
  }
}
