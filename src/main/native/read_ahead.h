// How far ahead of a product memory is asked for.

#ifndef KVFREEZE_READ_AHEAD_H
#define KVFREEZE_READ_AHEAD_H

// Words ahead of those that are multiplied; 0 where the processor's own prefetching is better off alone. Known from the
// moment the library is loaded.
extern int read_ahead_words __attribute__((visibility("hidden")));

#endif
