package dev.kvfreeze.model.chat;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.api.SoftAssertions;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Templates against Python's jinja2 (src/test/python/chat_reference.py), and hostile ones. */
class JinjaChatTemplateTest {
  private static byte[] resource(String name) throws IOException {
    try (InputStream in = JinjaChatTemplateTest.class.getResourceAsStream("/chat/" + name)) {
      return in.readAllBytes();
    }
  }

  static ChatTemplate template(String name) throws IOException {
    String source = new String(resource(name), StandardCharsets.UTF_8);
    return new JinjaChatTemplate("test.gguf", source, "<s>", "</s>");
  }

  @Test
  void rendersAsJinja2() throws IOException {
    SoftAssertions softly = new SoftAssertions();
    for (JsonNode expected : new ObjectMapper().readTree(resource("reference.json")).get("cases")) {
      List<ChatMessage> messages = new ArrayList<>();
      expected
          .get("messages")
          .forEach(
              message ->
                  messages.add(
                      new ChatMessage(
                          message.get("role").asText(), message.get("content").asText())));
      ChatTemplate template = template(expected.get("template").asText());
      if (expected.get("text").isNull()) {
        softly
            .assertThatThrownBy(() -> template.render(messages))
            .as(expected.toString())
            .isInstanceOf(ChatTemplateException.class)
            .hasMessageContaining("roles must alternate");
      } else {
        String text = null;
        try {
          text = template.render(messages);
        } catch (ChatTemplateException e) {
          softly.fail(expected.get("template") + " " + messages + ": " + e.getMessage());
        }
        softly.assertThat(text).as(expected.toString()).isEqualTo(expected.get("text").asText());
      }
    }
    softly.assertAll();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{{ 'xxxxxxxxxxxxxxxxxxxx' }}{% endfor %}{% endfor %}",
        "{% set x = 'xxxxxxxx' %}{% for a in range(64) %}{% set x = x ~ x %}{% endfor %}{{ x }}",
        "{% set ns = namespace(x='xxxxxxxx') %}{% for a in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='xxxxxxxx') %}{% for a in range(64) %}{% set ns.x = ns.x.replace('x', ns.x) %}{% endfor %}{{ ns.x }}",
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% extends '/etc/passwd' %}",
        "{% from '/etc/passwd' import x %}",
        "{{ ''.repeat(1000000000) }}",
        "{{ messages.getClass() }}",
        "{{ messages.class }}",
        "{{ ''.class }}",
        "{{ messages[0].content.bytes }}",
        "{{ ''.getClass().forName('java.lang.Runtime') }}",
        "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{{ raise_exception('no') }}",
        "{% for x in %}",
        "{{ unknown_function() }}",
      })
  void refusesHostileTemplatesInTime(String source) {
    ChatTemplate template = new JinjaChatTemplate("test.gguf", source, "", "");
    Assertions.assertTimeoutPreemptively(
        Duration.ofSeconds(20),
        () ->
            assertThatThrownBy(() -> template.render(List.of(new ChatMessage("user", "hi"))))
                .isInstanceOf(ChatTemplateException.class)
                .hasMessageContaining("test.gguf"));
  }
}
