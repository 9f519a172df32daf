package dev.kvfreeze.freeze;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** One head's pages in plain lists, with moves that can be made to fail. */
final class TableHead implements HeadView, PageMover {
  final List<Boolean> active = new ArrayList<>();
  final List<Double> tokenMass = new ArrayList<>();
  final Set<Integer> excluded = new TreeSet<>();
  double[] estimates = {};
  private final int pageTokens;
  boolean refuseFreeze;
  boolean refuseThaw;
  int freezes;
  int thaws;

  TableHead(int pageTokens) {
    this.pageTokens = pageTokens;
  }

  void append() {
    if (tokenMass.size() % pageTokens == 0) {
      active.add(true);
    }
    tokenMass.add(0.0);
  }

  void truncate(int length) {
    tokenMass.subList(length, tokenMass.size()).clear();
    int pages = (length + pageTokens - 1) / pageTokens;
    active.subList(pages, active.size()).clear();
    if (length % pageTokens != 0) {
      active.set(pages - 1, true);
    }
  }

  List<Integer> activePageNumbers() {
    List<Integer> pages = new ArrayList<>();
    for (int page = 0; page < active.size(); page++) {
      if (active.get(page)) {
        pages.add(page);
      }
    }
    return pages;
  }

  int tokens(int page) {
    return Math.min(pageTokens, length() - page * pageTokens);
  }

  @Override
  public int layer() {
    return 0;
  }

  @Override
  public int pageCount() {
    return active.size();
  }

  @Override
  public int pageTokens() {
    return pageTokens;
  }

  @Override
  public int length() {
    return tokenMass.size();
  }

  @Override
  public int activeTokens() {
    return activePageNumbers().stream().mapToInt(this::tokens).sum();
  }

  @Override
  public long activePages() {
    return activePageNumbers().size();
  }

  @Override
  public float estimate(int page) {
    return page < estimates.length ? (float) estimates[page] : 0;
  }

  @Override
  public int listedCount() {
    return activePageNumbers().size();
  }

  @Override
  public int listedPage(int index) {
    return activePageNumbers().get(index);
  }

  @Override
  public boolean active(int page) {
    return active.get(page);
  }

  @Override
  public float mass(int page) {
    double mass = 0;
    for (int token = 0; token < tokens(page); token++) {
      mass += tokenMass.get(page * pageTokens + token);
    }
    return active.get(page) ? (float) mass : 0;
  }

  @Override
  public void freeze(int page) {
    if (active.get(page) && tokens(page) == pageTokens && !refuseFreeze) {
      active.set(page, false);
      freezes++;
    }
  }

  @Override
  public void thaw(int page) {
    if (!active.get(page) && !refuseThaw) {
      active.set(page, true);
      thaws++;
    }
  }

  @Override
  public void exclude(int page) {
    if (tokens(page) == pageTokens) {
      excluded.add(page);
    }
  }

  @Override
  public void include(int page) {
    excluded.remove(page);
  }
}
