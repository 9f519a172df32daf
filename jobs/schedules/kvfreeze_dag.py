"""Airflow: a nightly summary of the day's documents (apache-airflow-providers-apache-spark).

Running again is safe: only what is missing is done. In client mode the exit code 3 (done, some documents
failed) fails the task after all good rows are written; retries then try the failed documents again.
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

with DAG(
    dag_id="kvfreeze_summaries",
    schedule="30 1 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    SparkSubmitOperator(
        task_id="summarize",
        conn_id="spark_default",
        java_class="dev.kvfreeze.spark.Main",
        application="/opt/kvfreeze/target/kvfreeze-0.1.0.jar",
        properties_file="/opt/kvfreeze/conf/profiles/yarn.conf",
        application_args=[
            "summarize",
            "--input",
            "s3a://documents/{{ ds }}/",
            "--output",
            "s3a://summaries/",
        ],
        retries=2,
        retry_delay=timedelta(minutes=10),
    )
