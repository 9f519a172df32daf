package dev.kvfreeze.model.chat;

import java.util.List;

/** A model's own chat template (Jinja), rendered with limits on time and output. */
public interface ChatTemplate {
  /**
   * The prompt for a conversation, ending where the assistant begins. Contents are inserted as they
   * are: use the prompt encoder where special tokens in them must stay text.
   *
   * @throws ChatTemplateException when the template fails or exceeds a limit
   */
  String render(List<ChatMessage> messages);
}
